"""One call of `ssl-sbir explain`: what was asked, and the page or pages that answer it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.drawings import rows_asked
from ssl_sbir.explain.evaluated import Ask, asks_from
from ssl_sbir.explain.explainer import Explainer
from ssl_sbir.explain.index import Index, explain_many
from ssl_sbir.explain.query import QueryReport, report_of, safe_name
from ssl_sbir.explain.subject import Subject, subject
from ssl_sbir.explain.vocabulary import Vocabulary, drawn_prototypes, prototypes, text_vocabulary
from ssl_sbir.semantics import load_semantics
from ssl_sbir.semantics.names import class_table


@dataclass(frozen=True)
class Request:
    """What to explain.

    Attributes:
        run: a run folder, or the name of an encoder.
        data: data spec.
        queries: image files, or sketches of the data by key or row number.
        text: a sentence beside every drawing.
        from_evaluation: so many of the worst, best and random queries of the run's evaluation too.
        top: how many results to explain.
        split: a published split or JSON file instead of the run's own.
        gallery: `unseen`, `all`, or None.
        methods: as in `explain_pairs`.
        expected: key of a photo that should have come first.
        semantics: a source of paths between ideas, as `load_semantics` takes it.
        draws: random maps a check.
        ideas: whether to name ideas near drawing and photos.
        out: the page, or the folder of several pages.
        templates: the user's own folder of templates.
        device: where to compute.
    """

    run: str
    data: str
    queries: tuple[str, ...] = ()
    text: str = ""
    from_evaluation: int | None = None
    top: int = 5
    split: str | None = None
    gallery: str | None = None
    methods: tuple[str, ...] | None = None
    expected: str | None = None
    semantics: str | None = None
    draws: int = 3
    ideas: bool = True
    out: Path | None = None
    templates: Path | None = None
    device: str = "cpu"


def answer(request: Request) -> tuple[QueryReport, Path] | Index:
    """The report and its page; for several queries an index over their pages.

    Raises:
        SslSbirError: run, data, split, query or method are wrong.
    """
    manifest = open_data(request.data)
    seen_by = subject(request.run, manifest, request.split)
    asks = [Ask(query) for query in request.queries]
    if request.from_evaluation is not None:
        chosen = request.split or (seen_by.split.name if seen_by.split else None)
        evaluations = seen_by.pages.parent / "evaluate"
        asks += asks_from(evaluations, manifest, request.from_evaluation, chosen)
    explainer = _explainer(request, seen_by, manifest, asks)
    settings = {**seen_by.settings(request.gallery), **_ideas(request)}
    if len(asks) > 1:
        if request.expected:
            raise ExplainError(f"--expected with {len(asks)} queries", "It speaks of one query: give one.")
        folder = request.out or seen_by.pages
        return explain_many(
            explainer, asks, folder, text=request.text, settings=settings, templates=request.templates
        )
    found = explainer.answer(asks[0].query, request.text, request.expected)
    report = report_of(explainer, found, settings)
    place = request.out or seen_by.pages / f"{safe_name(report.facts.query)}.html"
    return report, report.save(place, request.templates)


def _explainer(request: Request, seen_by: Subject, manifest: Manifest, asks: Sequence[Ask]) -> Explainer:
    texts = seen_by.text_side(request.device) if request.text else None
    explainer = Explainer(
        seen_by.encoder.to(request.device).eval(),
        manifest,
        seen_by.classes(request.gallery),
        request.top,
        request.methods,
        request.draws,
        semantics=load_semantics(request.semantics) if request.semantics else None,
        fuse=texts,
        notes=texts.notes if texts else None,
        share=texts.share if texts else None,
        device=request.device,
    )
    asked = rows_asked([ask.query for ask in asks], manifest)
    return (
        replace(explainer, vocabulary=_vocabulary(seen_by, explainer, asked)) if request.ideas else explainer
    )


def _vocabulary(seen_by: Subject, explainer: Explainer, asked: Sequence[int]) -> Vocabulary | None:
    """The best that knows no label of a searched photo: classes not searched, else texts, else drawings alone."""
    encoder, manifest, device = explainer.encoder, explainer.manifest, explainer.device
    seen = seen_by.split.seen if seen_by.split else ()
    if seen and explainer.classes is not None:
        found = prototypes(encoder, manifest, seen, without=asked, device=device)
        if found is not None:
            return found
    if seen_by.run is not None and seen_by.run.takes_text:
        tower = seen_by.text_side(device).tower
        return text_vocabulary(tower, (*seen, *class_table()), "names of classes, seen or of published data")
    photos, classes = explainer.gallery.embeddings, seen or manifest.classes
    return drawn_prototypes(encoder, manifest, classes, photos, without=asked, device=device)


def _ideas(request: Request) -> dict[str, str]:
    return {"paths between ideas": request.semantics or "none (--semantics)"} if request.ideas else {}
