"""Why a photo came back: where in both pictures the similarity comes from, as facts and as a page."""

from ssl_sbir.explain.explanation import ExplainedQuery, Explanation, HeatMaps, RegionPair, Regions
from ssl_sbir.explain.pairs import METHODS, explain_pairs
from ssl_sbir.explain.regions import region_contributions

__all__ = [
    "METHODS",
    "ExplainedQuery",
    "Explanation",
    "HeatMaps",
    "RegionPair",
    "Regions",
    "explain_pairs",
    "region_contributions",
]
