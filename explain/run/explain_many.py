"""Explanations of several queries, and the index page that links to all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ssl_sbir.errors import SslSbirError
from ssl_sbir.explain.run.evaluation_queries import ChosenQuery
from ssl_sbir.explain.run.explain_query import QueryReport, build_query_report, page_file_name
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.files import write_atomic
from ssl_sbir.progress import show_progress
from ssl_sbir.reports.page_images import PageImage, to_page_image
from ssl_sbir.reports.render import json_text, render_template, write_html_page

INDEX_THUMB_SIDE = 96
THUMBS_PER_ENTRY = 5


@dataclass(frozen=True)
class IndexEntry:
    """One query in the index.

    Attributes:
        query: its id.
        label: its class; None if unknown.
        text: the sentence beside the drawing.
        kind: why it was chosen; empty if the user named it.
        value: its average precision; None if it wasn't evaluated.
        href: its page, relative to the index.
        score: of its first result; None without results.
        hits: number of results of its class; None if classes are unknown.
        results: number of explained results.
        verdict: in a sentence or two.
        trust: how far the maps can be trusted, in sentences; empty if not tested.
    """

    query: str
    label: str | None
    text: str
    kind: str
    value: float | None
    href: str
    score: float | None
    hits: int | None
    results: int
    verdict: str
    trust: str


@dataclass(frozen=True)
class ExplanationIndex:
    """All explained queries, and those that failed.

    Attributes:
        page: path of the index page.
        entries: in the order of the queries.
        failures: (query, reason) of those that couldn't be explained.
        settings: how all explanations were computed.
    """

    page: Path
    entries: tuple[IndexEntry, ...]
    failures: tuple[tuple[str, str], ...]
    settings: dict[str, str]


def explain_queries(
    explainer: Explainer,
    queries: Sequence[ChosenQuery],
    folder: Path,
    *,
    text: str = "",
    settings: dict[str, str] | None = None,
    templates: Path | None = None,
) -> ExplanationIndex:
    """Writes a page for each query, and `index.html` and `index.json`; returns the index.

    A query that can't be explained doesn't stop the others; it is listed with its reason.

    Args:
        explainer: with the gallery, which is embedded once.
        queries: the queries.
        folder: to write to.
        text: a sentence beside every drawing.
        settings: further facts for the pages.
        templates: a folder of the user's own templates.

    Raises:
        SslSbirError: no query can be explained; the first reason.
    """
    entries: list[IndexEntry] = []
    thumbs: list[list[PageImage | None]] = []
    errors: list[tuple[str, SslSbirError]] = []
    names: set[str] = set()
    _ = explainer.gallery  # embed it first: it shows a progress bar of its own
    with show_progress(len(queries), "explaining", "query") as counter:
        for chosen in queries:
            try:
                report = build_query_report(
                    explainer, explainer.search_and_explain(chosen.query, text), settings
                )
            except SslSbirError as error:
                errors.append((chosen.query, error))
            else:
                name = _unused_page_name(page_file_name(report.facts.query), names)
                report.save(folder / f"{name}.html", templates)
                entries.append(_index_entry(chosen, report, f"{name}.html"))
                thumbs.append(
                    [_index_thumbnail(image) for image in (report.drawing, *report.photos[:THUMBS_PER_ENTRY])]
                )
            counter.advance()
    if not entries:
        raise errors[0][1] if errors else SslSbirError("no query to explain", "Give --query.")
    failures = tuple((query, error.message) for query, error in errors)
    index = ExplanationIndex(folder / "index.html", tuple(entries), failures, report.facts.settings)
    write_atomic(folder / "index.json", json_text(index, 1) + "\n")
    write_html_page(index.page, index_page(index, thumbs, templates))
    return index


def index_page(
    index: ExplanationIndex, thumbs: Sequence[Sequence[PageImage | None]], templates: Path | None = None
) -> str:
    """The HTML of the index.

    Args:
        thumbs: for each entry the drawing and its first photos; None if a file is missing.
    """
    facts: dict[str, Any] = {
        "index": index,
        "rows": [
            {"entry": entry, "thumbs": images} for entry, images in zip(index.entries, thumbs, strict=True)
        ],
        "classes": sorted({entry.label for entry in index.entries if entry.label is not None}),
        "kinds": list(dict.fromkeys(entry.kind for entry in index.entries if entry.kind)),
    }
    return render_template("explanations.html.j2", facts, templates)


def _index_entry(chosen: ChosenQuery, report: QueryReport, href: str) -> IndexEntry:
    facts = report.facts
    same = [result.same_class for result in facts.results if result.same_class is not None]
    return IndexEntry(
        facts.query,
        facts.label,
        facts.text,
        chosen.kind,
        chosen.average_precision,
        href,
        facts.results[0].explanation.score if facts.results else None,
        sum(same) if same else None,
        len(facts.results),
        facts.verdict,
        facts.trust.verdict if facts.trust else "",
    )


def _index_thumbnail(image: Image.Image | None) -> PageImage | None:
    return None if image is None else to_page_image(image, side=INDEX_THUMB_SIDE)


def _unused_page_name(name: str, taken: set[str]) -> str:
    """The name, with a number appended if it is taken; `index` always is."""
    free, number = name, 2
    while free.lower() in taken or free.lower() == "index":
        free, number = f"{name}-{number}", number + 1
    taken.add(free.lower())
    return free
