"""What came back for one query: ids, scores and their parts, as a table, a page or a better query."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.errors import QueryError
from ssl_sbir.search.query import SearchQuery

if TYPE_CHECKING:
    from ssl_sbir.explain.run.explain_query import QueryReport
    from ssl_sbir.search.retriever import Retriever


@dataclass(frozen=True)
class SearchHit:
    """One photo that came back.

    Attributes:
        rank: from 1.
        id: its key in the data that were indexed.
        score: cosine of query and photo.
        parts: what each part of the query adds to the score; they add up to it.
        label: its class, where the data had one.
        path: its file, where it is one.
        gone: whether that file has been deleted since.
    """

    rank: int
    id: str
    score: float
    parts: dict[str, float]
    label: str | None = None
    path: Path | None = None
    gone: bool = False

    def facts(self) -> dict[str, Any]:
        """The same, JSON-able; bytes of a name that are no UTF-8 are shown as `�`."""
        where = None if self.path is None else printable_name(str(self.path))
        return {**vars(self), "id": printable_name(self.id), "path": where}


@dataclass(frozen=True)
class SearchResults:
    """The photos that came back for one query, best first.

    Attributes:
        hits: one a photo.
        query: what was asked.
        notes: what is doubtful about the query or the answer, a sentence each.
        gallery_size: how many photos were searched.
        retriever: searches again.
    """

    hits: tuple[SearchHit, ...]
    query: SearchQuery
    notes: tuple[str, ...]
    gallery_size: int
    retriever: "Retriever" = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self.hits)

    def __getitem__(self, index: int) -> SearchHit:
        return self.hits[index]

    def facts(self) -> dict[str, Any]:
        """Everything as plain facts."""
        ask = self.query
        return {
            "query": {
                "sketch": ask.sketch.name if ask.sketch else None,
                "text": ask.text or None,
                "photo": ask.photo.name if ask.photo else None,
                "weights": dict(ask.weights) or None,
                "without": list(ask.without),
                "like": [printable_name(name) for name in ask.like],
                "unlike": [printable_name(name) for name in ask.unlike],
            },
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
        """The answer to the same query with more said.

        Args:
            text: more of the sentence, such as "with a red roof" or "not a cartoon".
            without: texts to move away from.
            like: ids of results to move towards.
            unlike: ids of results to move away from.
            k: how many results; as many as before.
        """
        refused = [without] if isinstance(without, str) else list(without)
        ask = self.query.with_refinement(text, refused, like, unlike)
        return self.retriever.search_queries([ask], k or max(len(self), 1))[0]

    def show(self) -> None:
        """Prints a table in a terminal, or shows thumbnails in a notebook."""
        from ssl_sbir.search.results_page import format_results_table, in_notebook

        if in_notebook():
            from IPython.display import display

            display(self)
        else:
            print(format_results_table(self))

    def save(self, path: Path | str, templates: Path | None = None) -> Path:
        """The path of a self-contained HTML sheet of the results, now written."""
        from ssl_sbir.reports.render import write_html_page
        from ssl_sbir.search.results_page import render_results_page

        return write_html_page(Path(path), render_results_page(self, templates))

    def explain(self, top: int = 5, **more: Any) -> "QueryReport":
        """Why the first results came back; `.save("page.html")` writes the page.

        Args:
            top: how many results to explain; the rest are those that just missed.
            more: further fields of `ssl_sbir.explain.Explainer`, such as `methods`.

        Raises:
            QueryError: the query holds no drawing, or no photo that came back can be read.
        """
        from ssl_sbir.explain.run.search_results import explain_results

        if self.query.sketch is None:
            raise QueryError("only queries with a drawing can be explained", "Search with a sketch.")
        return explain_results(self, top, **more)

    def _repr_html_(self) -> str:
        from ssl_sbir.search.results_page import render_notebook_fragment

        return render_notebook_fragment(self)
