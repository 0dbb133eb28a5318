"""Why a photo came back: where in both pictures the similarity comes from, as facts and as a page."""

from ssl_sbir.explain.attribution.region_pairs import RegionPair, Regions, region_contributions
from ssl_sbir.explain.pair.explain_pairs import EXPLANATION_METHODS, explain_pairs
from ssl_sbir.explain.pair.explanation import ExplainedQuery, Explanation, HeatMaps
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.text.word_contributions import text_counterfactuals, word_weights

__all__ = [
    "EXPLANATION_METHODS",
    "ExplainedQuery",
    "Explainer",
    "Explanation",
    "HeatMaps",
    "RegionPair",
    "Regions",
    "explain_pairs",
    "region_contributions",
    "text_counterfactuals",
    "word_weights",
]
