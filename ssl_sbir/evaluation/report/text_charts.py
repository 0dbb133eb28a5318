"""The charts of the text audit on the results page."""

from typing import Any

from ssl_sbir.evaluation.audits.retrieval_audits import Audit
from ssl_sbir.reports.svg_charts import StripValue, scale_axis, strip_chart, top_of_scale, two_curves


def text_charts(audit: Audit | None) -> dict[str, Any] | None:
    """Bars of each side's mean average precision, and curves over the drawing's weight; None without an audit."""
    if audit is None:
        return None
    most = top_of_scale([one["high"] for one in audit["found"].values()])
    chance = audit["shapley"]["chance"]
    return {
        "scale": scale_axis(most),
        "found": [
            {
                "name": name,
                "value": one["mean"],
                "bar": strip_chart(StripValue(one["mean"], most, one["low"], one["high"], chance=chance)),
            }
            for name, one in audit["found"].items()
        ],
        "curve": two_curves([one["mAP"] for one in audit["sweep"]], [one["kept"] for one in audit["sweep"]]),
    }
