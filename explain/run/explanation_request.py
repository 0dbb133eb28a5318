"""One call of `ssl-sbir explain`: the request, and the page or pages that it writes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.run.evaluation_queries import ChosenQuery, sample_evaluated_queries
from ssl_sbir.explain.run.explain_many import ExplanationIndex, explain_queries
from ssl_sbir.explain.run.explain_query import QueryReport, build_query_report, page_file_name
from ssl_sbir.explain.run.explained_encoder import (
    ExplainedModel,
    find_known_classes,
    has_trained_text_side,
    load_explained_model,
)
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
        queries: image files, or sketches of the data by key or row number; none for a text alone.
        text: a sentence beside every drawing, or by itself.
        from_evaluation: number of worst, best and random queries to add from the run's evaluation; None for none.
        top: number of results to explain.
        split: a published split or JSON file instead of the run's own.
        gallery: `unseen`, `all`, or None for unseen if there is a split.
        methods: as in `explain_pairs`.
        expected: key of a photo that should have been the first result.
        semantics: a source of paths between concepts, as in `load_semantics`.
        draws: random maps that each heat map is tested against; 0 skips the tests.
        ideas: whether to name the concepts nearest to drawing and photos.
        out: the page, or the folder for several pages.
        templates: a folder of the user's own templates.
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
    """The report and its page's path; for several queries, the index of their pages.

    Raises:
        SslSbirError: run, data, split, query or method are wrong.
    """
    by_text = not request.queries and request.from_evaluation is None
    if by_text:
        _check_text_request(request)
    manifest = open_data(request.data)
    model = load_explained_model(request.run, manifest, request.split, with_teacher=bool(request.text))
    queries = [ChosenQuery(query) for query in request.queries]
    if request.from_evaluation is not None:
        split = request.split or (model.split.name if model.split else None)
        evaluations = model.pages.parent / "evaluate"
        queries += sample_evaluated_queries(evaluations, manifest, request.from_evaluation, split)
    explainer = _build_explainer(request, model, manifest, queries)
    path_settings = {} if by_text else _path_settings(request)
    settings = {**model.model_settings(request.gallery), **path_settings}
    if len(queries) > 1:
        if request.expected:
            raise ExplainError(
                f"--expected with {len(queries)} queries", "Give one query: --expected applies to one."
            )
        folder = request.out or model.pages
        return explain_queries(
            explainer, queries, folder, text=request.text, settings=settings, templates=request.templates
        )
    if by_text:
        explanation = explainer.search_by_text(request.text)
    else:
        explanation = explainer.search_and_explain(queries[0].query, request.text, request.expected)
    report = build_query_report(explainer, explanation, settings)
    page = request.out or model.pages / f"{page_file_name(report.facts.query)}.html"
    return report, report.save(page, request.templates)


def _build_explainer(
    request: ExplanationRequest, model: ExplainedModel, manifest: Manifest, queries: Sequence[ChosenQuery]
) -> Explainer:
    encoder = model.encoder.to(request.device).eval()
    explainer = Explainer(
        encoder,
        manifest,
        model.gallery_classes(request.gallery),
        request.top,
        request.methods,
        request.draws,
        semantics=load_semantics(request.semantics) if request.semantics else None,
        texts=model.text_queries(request.device) if request.text else None,
        device=request.device,
    )
    if not request.ideas or not queries:
        return explainer
    query_rows = find_query_rows([chosen.query for chosen in queries], manifest)
    return replace(explainer, vocabulary=_choose_vocabulary(model, explainer, query_rows))


def _choose_vocabulary(
    model: ExplainedModel, explainer: Explainer, query_rows: Sequence[int]
) -> Vocabulary | None:
    """The best one that uses no label of a searched photo: classes not searched, else those by which the model reads
    texts, else texts, else drawings.
    """
    encoder, manifest, device = explainer.encoder, explainer.manifest, explainer.device
    seen = model.split.seen if model.split else ()
    if seen and explainer.classes is not None:
        vocabulary = class_prototypes(encoder, manifest, seen, excluded_rows=query_rows, device=device)
        if vocabulary is not None:
            return vocabulary
    if (known := find_known_classes(encoder, model.run, model.side)) is not None:
        return known
    if has_trained_text_side(model.run):
        tower = (explainer.texts or model.text_queries(device)).text_tower
        return text_vocabulary(tower, (*seen, *class_table()), "names of classes, seen or of published data")
    photos, classes = explainer.gallery.embeddings, seen or manifest.classes
    return sketch_prototypes(encoder, manifest, classes, photos, excluded_rows=query_rows, device=device)


def _check_text_request(request: ExplanationRequest) -> None:
    """Refuses what needs a drawing.

    Raises:
        ExplainError: there is no text either, or an option applies to drawings only.
    """
    if not request.text.strip():
        raise ExplainError("no query", "Give --query FILE-OR-KEY, --text, or --from-evaluation.")
    needless = {"methods": request.methods, "expected": request.expected, "semantics": request.semantics}
    given = [f"--{name}" for name, value in needless.items() if value]
    if given:
        raise ExplainError(f"{', '.join(given)} without a drawing", "Leave it out, or give --query.")


def _path_settings(request: ExplanationRequest) -> dict[str, str]:
    return {"paths between concepts": request.semantics or "none (--semantics)"} if request.ideas else {}
