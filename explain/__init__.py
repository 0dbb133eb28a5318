"""Why a photo was found: where in both images the similarity comes from, as facts and as a page."""

from typing import TYPE_CHECKING

from ssl_sbir.lazy import lazy_exports

if TYPE_CHECKING:
    from ssl_sbir.explain.attribution.region_pairs import RegionPair as RegionPair
    from ssl_sbir.explain.attribution.region_pairs import Regions as Regions
    from ssl_sbir.explain.attribution.region_pairs import region_contributions as region_contributions
    from ssl_sbir.explain.pair.explain_pairs import EXPLANATION_METHODS as EXPLANATION_METHODS
    from ssl_sbir.explain.pair.explain_pairs import explain_pairs as explain_pairs
    from ssl_sbir.explain.pair.explanation import ExplainedQuery as ExplainedQuery
    from ssl_sbir.explain.pair.explanation import Explanation as Explanation
    from ssl_sbir.explain.pair.explanation import HeatMaps as HeatMaps
    from ssl_sbir.explain.run.explainer import Explainer as Explainer
    from ssl_sbir.explain.text.query_text import TextQueries as TextQueries
    from ssl_sbir.explain.text.text_answer import TextAnswer as TextAnswer
    from ssl_sbir.explain.text.text_reading import ClassContributions as ClassContributions
    from ssl_sbir.explain.text.text_reading import TextReading as TextReading
    from ssl_sbir.explain.text.word_contributions import text_counterfactuals as text_counterfactuals
    from ssl_sbir.explain.text.word_contributions import word_weights as word_weights

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "attribution.region_pairs": (
            "RegionPair",
            "Regions",
            "region_contributions",
        ),
        "pair.explain_pairs": (
            "EXPLANATION_METHODS",
            "explain_pairs",
        ),
        "pair.explanation": (
            "ExplainedQuery",
            "Explanation",
            "HeatMaps",
        ),
        "run.explainer": ("Explainer",),
        "text.query_text": ("TextQueries",),
        "text.text_answer": ("TextAnswer",),
        "text.text_reading": (
            "ClassContributions",
            "TextReading",
        ),
        "text.word_contributions": (
            "text_counterfactuals",
            "word_weights",
        ),
    },
)
