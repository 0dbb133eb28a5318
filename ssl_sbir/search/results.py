"""The results of one query: ids, scores and their parts, as a table, a page or a refined query."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ssl_sbir import __version__
from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.manifest import ImageSource
from ssl_sbir.errors import QueryError
from ssl_sbir.gallery.base import Gallery
from ssl_sbir.run import PROVENANCE_FILE, RunFolder
from ssl_sbir.search.hit import SearchHit
from ssl_sbir.search.model import SearchModel
from ssl_sbir.search.negation import split_negations
from ssl_sbir.search.query import SearchQuery, sketch_and_text_weights
from ssl_sbir.search.results_page import (
    ResultsView,
    format_results_table,
    in_notebook,
    render_notebook_fragment,
    write_results_page,
)

if TYPE_CHECKING:
    from ssl_sbir.explain.run.explain_query import QueryReport


@runtime_checkable
class SearchedIndex(Protocol):
    """What results need of the retriever that found them."""

    model: SearchModel
    folder: Path | None

    @property
    def gallery(self) -> Gallery:
        """The index."""

    @property
    def source(self) -> ImageSource | None:
        """Opens the indexed photos; None where the data are gone."""

    def search_queries(self, queries: Sequence[SearchQuery], k: int) -> "list[SearchResults]":
        """The results of each query."""


@dataclass(frozen=True)
class SearchResults:
    """The photos found for one query, best first.

    Attributes:
        hits: one per photo.
        query: the query.
        notes: what is doubtful about the query or the results, a sentence each.
        gallery_size: how many photos were searched.
        retriever: searches again.
    """

    hits: tuple[SearchHit, ...]
    query: SearchQuery
    notes: tuple[str, ...]
    gallery_size: int
    retriever: SearchedIndex = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self.hits)

    def __getitem__(self, index: int) -> SearchHit:
        return self.hits[index]

    def facts(self) -> dict[str, Any]:
        """Query, notes and hits, JSON-able; `text_side` is what a text's vector depends on."""
        text_side = self.retriever.model.text_side_facts() if self.query.text else None
        return {
            "query": self.query.facts(),
            **({"text_side": text_side} if text_side else {}),
            "searched": self.gallery_size,
            "notes": list(self.notes),
            "hits": [hit.facts() for hit in self],
        }

    def refine(
        self,
        *,
        text: str = "",
        without: str | Sequence[str] = (),
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        k: int | None = None,
    ) -> "SearchResults":
        """The results of the same query with additions.

        Args:
            text: added to the sentence, such as "with a red roof" or "not a cartoon".
            without: texts to move away from.
            like: ids of results to move towards.
            unlike: ids of results to move away from.
            k: how many results; as many as before.
        """
        negated = [without] if isinstance(without, str) else list(without)
        query = self.query.with_refinement(text, negated, like, unlike)
        return self.retriever.search_queries([query], k or max(len(self), 1))[0]

    def show(self) -> None:
        """Prints a table in a terminal, or shows thumbnails in a notebook."""
        if in_notebook():
            from IPython.display import display

            display(self)
        else:
            print(format_results_table(self.hits))

    def save(self, path: Path | str, templates: Path | None = None) -> Path:
        """Writes a self-contained HTML page of the results and returns its path."""
        return write_results_page(Path(path), self._view(), templates)

    def explain(self, top: int = 5, **more: Any) -> "QueryReport":
        """Explains the first results; `.save("page.html")` writes the page.

        Args:
            top: how many results to explain; the next ones are compared as near misses.
            more: further fields of `ssl_sbir.explain.Explainer`, such as `methods`.

        Raises:
            QueryError: the query holds neither a drawing nor a text to move towards, or none of the found photos can be
                read.
            EncoderError: the text encoder of the model is unavailable.
        """
        from ssl_sbir.explain.run.search_results import SearchToExplain, explain_results

        query, index, model = self.query, self.retriever, self.retriever.model
        text, negated = split_negations(query.text)
        text = text if dict(query.weights).get("text", 1.0) else ""
        if query.sketch is None and not text:
            raise QueryError(
                "only queries with a drawing or a text can be explained", "Search with a sketch or a text."
            )
        readable_ids = [hit.id for hit in self if not hit.gone]
        if not readable_ids or index.source is None:
            raise QueryError("none of the found photos can be read", "Put the photos back, or index again.")
        folder = Path(model.name)
        search = SearchToExplain(
            model_name=model.name,
            encoder=model.encoder,
            run=RunFolder(folder) if (folder / PROVENANCE_FILE).is_file() else None,
            open_vocabulary=lambda: model.vocabulary_side,
            text_encoder=model.text_encoder,
            open_text_side=lambda: model.text_side,
            device=model.device,
            sketch=(query.sketch.image or query.sketch.file) if query.sketch else None,
            text=text,
            weights=sketch_and_text_weights(dict(query.weights)),
            has_other_parts=bool(negated or query.without or query.like or query.unlike or query.photo),
            result_ids=readable_ids,
            indexed_ids=(photo_id for photo_id, _ in index.gallery.items()),
            source=index.source,
            index_name=str(index.folder),
            gallery_size=self.gallery_size,
        )
        return explain_results(search, top, **more)

    def _repr_html_(self) -> str:
        return render_notebook_fragment(self._view())

    def _view(self) -> ResultsView:
        model, gallery = self.retriever.model, self.retriever.gallery
        settings = {
            "model": f"{printable_name(model.name)} (sha {model.sha256[:8]})",
            "index": printable_name(str(self.retriever.folder)),
            "engine": gallery.engine,
            "photos searched": f"{self.gallery_size:,}",
            "ssl-sbir": __version__,
        }
        query, source = self.query, self.retriever.source
        return ResultsView(self.hits, query.sketch, query.photo, source, self.facts(), settings)
