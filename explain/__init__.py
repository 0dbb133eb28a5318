"""Why a photo came back: where in both pictures the similarity comes from, as facts and as a page."""

from ssl_sbir.explain.explainer import Explainer
from ssl_sbir.explain.explanation import ExplainedQuery, Explanation, HeatMaps
from ssl_sbir.explain.pairs import METHODS, explain_pairs
from ssl_sbir.explain.query_words import counterfactuals, word_weights
from ssl_sbir.explain.regions import RegionPair, Regions, region_contributions

__all__ = [
    "METHODS",
    "ExplainedQuery",
    "Explainer",
    "Explanation",
    "HeatMaps",
    "RegionPair",
    "Regions",
    "counterfactuals",
    "explain_pairs",
    "region_contributions",
    "word_weights",
]
