"""What came back for one query: ids, scores and their parts, as a table, a page or a better query."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_sbir.data.names import printable
from ssl_sbir.errors import QueryError
from ssl_sbir.retrieval.ask import Ask

if TYPE_CHECKING:
    from ssl_sbir.explain.query import QueryReport
    from ssl_sbir.retrieval.retriever import Retriever


@dataclass(frozen=True)
class Hit:
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
        where = None if self.path is None else printable(str(self.path))
        return {**vars(self), "id": printable(self.id), "path": where}


@dataclass(frozen=True)
class Hits:
    """The photos that came back for one query, best first.

    Attributes:
        hits: one a photo.
        ask: what was asked.
        notes: what is doubtful about the query or the answer, a sentence each.
        searched: how many photos were searched.
        retriever: searches again.
    """

    hits: tuple[Hit, ...]
    ask: Ask
    notes: tuple[str, ...]
    searched: int
    retriever: "Retriever" = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, place: int) -> Hit:
        return self.hits[place]

    def facts(self) -> dict[str, Any]:
        """Everything as plain facts."""
        ask = self.ask
        return {
            "query": {
                "sketch": ask.sketch.name if ask.sketch else None,
                "text": ask.text or None,
                "photo": ask.photo.name if ask.photo else None,
                "weights": dict(ask.weights) or None,
                "without": list(ask.without),
                "like": [printable(name) for name in ask.like],
                "unlike": [printable(name) for name in ask.unlike],
            },
            "searched": self.searched,
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
    ) -> "Hits":
        """The answer to the same query with more said.

        Args:
            text: more of the sentence, such as "with a red roof" or "not a cartoon".
            without: texts to move away from.
            like: ids of results to move towards.
            unlike: ids of results to move away from.
            k: how many results; as many as before.
        """
        refused = [without] if isinstance(without, str) else list(without)
        ask = self.ask.refined(text, refused, like, unlike)
        return self.retriever.answers([ask], k or max(len(self), 1))[0]

    def show(self) -> None:
        """Prints a table in a terminal, or shows thumbnails in a notebook."""
        from ssl_sbir.retrieval.sheet import in_notebook, table

        if in_notebook():
            from IPython.display import display

            display(self)
        else:
            print(table(self))

    def save(self, path: Path | str, templates: Path | None = None) -> Path:
        """The path of a self-contained HTML sheet of the results, now written."""
        from ssl_sbir.reports.render import page
        from ssl_sbir.retrieval.sheet import sheet

        return page(Path(path), sheet(self, templates))

    def explain(self, top: int = 5, **more: Any) -> "QueryReport":
        """Why the first results came back; `.save("page.html")` writes the page.

        Args:
            top: how many results to explain; the rest are those that just missed.
            more: further fields of `ssl_sbir.explain.Explainer`, such as `methods`.

        Raises:
            QueryError: the query holds no drawing, or no photo that came back can be read.
        """
        from ssl_sbir.retrieval.reasons import reasons

        if self.ask.sketch is None:
            raise QueryError("only queries with a drawing can be explained", "Search with a sketch.")
        return reasons(self, top, **more)

    def _repr_html_(self) -> str:
        from ssl_sbir.retrieval.sheet import fragment

        return fragment(self)
