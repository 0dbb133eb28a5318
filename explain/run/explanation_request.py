"""One call of `ssl-sbir explain`: what was asked, and the page or pages that answer it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.run.evaluation_queries import ChosenQuery, sample_evaluated_queries
from ssl_sbir.explain.run.explain_many import ExplanationIndex, explain_queries
from ssl_sbir.explain.run.explain_query import QueryReport, build_query_report, page_file_name
from ssl_sbir.explain.run.explained_encoder import ExplainedModel, load_explained_model
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.run.query_drawing import find_query_rows
from ssl_sbir.explain.text.concept_vocabulary import (
    Vocabulary,
    class_prototypes,
    sketch_prototypes,
    text_vocabulary,
)
from ssl_sbir.semantics import load_semantics
from ssl_sbir.semantics.candidate_names import class_table


@dataclass(frozen=True)
class ExplanationRequest:
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


def run_explanation(request: ExplanationRequest) -> tuple[QueryReport, Path] | ExplanationIndex:
    """The report and its page; for several queries an index over their pages.

    Raises:
        SslSbirError: run, data, split, query or method are wrong.
    """
    manifest = open_data(request.data)
    seen_by = load_explained_model(request.run, manifest, request.split)
    asks = [ChosenQuery(query) for query in request.queries]
    if request.from_evaluation is not None:
        chosen = request.split or (seen_by.split.name if seen_by.split else None)
        evaluations = seen_by.pages.parent / "evaluate"
        asks += sample_evaluated_queries(evaluations, manifest, request.from_evaluation, chosen)
    explainer = _build_explainer(request, seen_by, manifest, asks)
    settings = {**seen_by.model_settings(request.gallery), **_path_settings(request)}
    if len(asks) > 1:
        if request.expected:
            raise ExplainError(f"--expected with {len(asks)} queries", "It speaks of one query: give one.")
        folder = request.out or seen_by.pages
        return explain_queries(
            explainer, asks, folder, text=request.text, settings=settings, templates=request.templates
        )
    found = explainer.search_and_explain(asks[0].query, request.text, request.expected)
    report = build_query_report(explainer, found, settings)
    place = request.out or seen_by.pages / f"{page_file_name(report.facts.query)}.html"
    return report, report.save(place, request.templates)


def _build_explainer(
    request: ExplanationRequest, seen_by: ExplainedModel, manifest: Manifest, asks: Sequence[ChosenQuery]
) -> Explainer:
    texts = seen_by.text_fuser(request.device) if request.text else None
    explainer = Explainer(
        seen_by.encoder.to(request.device).eval(),
        manifest,
        seen_by.gallery_classes(request.gallery),
        request.top,
        request.methods,
        request.draws,
        semantics=load_semantics(request.semantics) if request.semantics else None,
        fuse=texts,
        describe_text=texts.describe_text if texts else None,
        sketch_share=texts.sketch_share if texts else None,
        device=request.device,
    )
    asked = find_query_rows([ask.query for ask in asks], manifest)
    return (
        replace(explainer, vocabulary=_choose_vocabulary(seen_by, explainer, asked))
        if request.ideas
        else explainer
    )


def _choose_vocabulary(
    seen_by: ExplainedModel, explainer: Explainer, asked: Sequence[int]
) -> Vocabulary | None:
    """The best that knows no label of a searched photo: classes not searched, else texts, else drawings alone."""
    encoder, manifest, device = explainer.encoder, explainer.manifest, explainer.device
    seen = seen_by.split.seen if seen_by.split else ()
    if seen and explainer.classes is not None:
        found = class_prototypes(encoder, manifest, seen, excluded_rows=asked, device=device)
        if found is not None:
            return found
    if seen_by.run is not None and seen_by.run.takes_text:
        tower = seen_by.text_fuser(device).text_tower
        return text_vocabulary(tower, (*seen, *class_table()), "names of classes, seen or of published data")
    photos, classes = explainer.gallery.embeddings, seen or manifest.classes
    return sketch_prototypes(encoder, manifest, classes, photos, excluded_rows=asked, device=device)


def _path_settings(request: ExplanationRequest) -> dict[str, str]:
    return {"paths between ideas": request.semantics or "none (--semantics)"} if request.ideas else {}
