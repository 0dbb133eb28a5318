"""Search one's own photos by a drawing, a sentence, a photo, or any of them together."""

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ssl_sbir.data.image_folders import FileSource
from ssl_sbir.data.manifest import ImageSource, Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.devices import AUTO, resolve_device
from ssl_sbir.encoders import Encoder
from ssl_sbir.errors import GalleryError, QueryError
from ssl_sbir.gallery.base import WRITE_WAIT_SECONDS, Gallery, Neighbour
from ssl_sbir.gallery.create import create_atomically, open_gallery, parse_engine
from ssl_sbir.gallery.index_photos import INDEX_BATCH_SIZE, IndexingSummary, index_photos
from ssl_sbir.gallery.store import INDEX_FILE, read_index
from ssl_sbir.run import RunFolder
from ssl_sbir.search.model import SearchModel
from ssl_sbir.search.query import SearchQuery, embed_queries, validate_weights
from ssl_sbir.search.query_arithmetic import QueryVectors
from ssl_sbir.search.query_image import is_strokes, to_query_image
from ssl_sbir.search.results import SearchHit, SearchResults

QueryInput = Any  # a picture as `ssl_sbir.search.query_image.picture` takes it, or a list of them


class Retriever:
    """A model and, once there is one, the index it searches.

    Attributes:
        model: embeds photos and queries.
        folder: of the index; None before `index_command` or `open`.
        indexing_summary: what the last `index_command` did.
    """

    def __init__(
        self, model: SearchModel, folder: Path | None = None, gallery: Gallery | None = None
    ) -> None:
        self.model, self.folder, self._gallery = model, folder, gallery
        self.indexing_summary: IndexingSummary | None = None

    @classmethod
    def load(cls, model: str | Path | Encoder | RunFolder, *, device: str = AUTO) -> "Retriever":
        """A retriever for a run's folder, an encoder's name (`ssl-sbir encoders`), or an encoder.

        Args:
            model: which.
            device: where to compute: auto (a GPU where there is one), cpu, cuda or mps.

        Raises:
            RunError, EncoderError: it can't be loaded.
            ConfigError: this machine has no such device.
        """
        return cls(SearchModel.load(model, resolve_device(device)))

    def index(
        self,
        data: str | Path | Manifest,
        out: str | Path | None = None,
        *,
        engine: str | None = None,
        overwrite: bool = False,
        batch_size: int = INDEX_BATCH_SIZE,
        wait: float = WRITE_WAIT_SECONDS,
    ) -> "Retriever":
        """A retriever of the photos of some data; an index that is there already is brought up to date.

        Args:
            data: a folder, a data spec such as `sketchy:PATH`, or a manifest.
            out: folder of the index; by default a temporary one, which goes with the retriever.
            engine: see `create_atomically`; by default `exact`, or what the index was made with.
            overwrite: an older index there gives way.
            batch_size: photos embedded at a time.
            wait: seconds to wait for another process that writes the index.

        Raises:
            DataError: there are no such data.
            GalleryError: they hold no photo, or the index is another model's or can't be written.
        """
        manifest = data if isinstance(data, Manifest) else open_data(str(data))
        folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="ssl-sbir-index-"))
        with self._open_for_indexing(folder, engine, overwrite, wait) as gallery:
            indexed = index_photos(
                self.model.encoder,
                manifest,
                gallery,
                device=self.model.device,
                batch_size=batch_size,
                wait=wait,
            )
            if gallery.engine in ("faiss:hnsw", "faiss:ivf"):
                gallery.update_facts(**{"recall@10": gallery.recall(10)})  # type: ignore[attr-defined]
        made = self.open(folder)
        if out is None:
            weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
        made.indexing_summary = indexed
        made.__dict__["source"] = manifest.source
        return made

    def open(self, index: str | Path) -> "Retriever":
        """A retriever of an index that is there.

        Raises:
            GalleryError: there is none, or it holds another model's vectors.
        """
        folder = Path(index)
        self.model.check_index_model(folder, read_index(folder)["facts"])
        return Retriever(self.model, folder, open_gallery(folder, device=self.model.device))

    @property
    def gallery(self) -> Gallery:
        """The index.

        Raises:
            QueryError: nothing has been indexed or opened.
        """
        if self._gallery is None:
            raise QueryError("there is nothing to search", "Call .index(folder) or .open(index) first.")
        return self._gallery

    def search(
        self,
        sketch: QueryInput = None,
        text: str | Sequence[str] | None = None,
        photo: QueryInput = None,
        *,
        k: int = 10,
        weights: Mapping[str, float | int] | None = None,
        without: str | Sequence[str] = (),
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
    ) -> SearchResults | list[SearchResults]:
        """The photos nearest to a query, which is any of sketch, text and photo; lists of them make a batch.

        A sentence's refusals ("not a cartoon", "without people") are taken out of it and the query is moved away from
        them; the text encoder itself reads no negation. Nothing is kept out for certain.

        Args:
            sketch: a path, PIL image, array, SVG drawing or strokes; or a list of them.
            text: a sentence, or one for each query of a batch.
            photo: a photo whose like is sought; or a list of them.
            k: how many results.
            weights: how much "sketch", "text" and "photo" count; only the ratio matters. By default drawing and text
                count as the run was calibrated, and a photo as much as each of the others.
            without: texts to move away from.
            like: ids to move towards (relevance feedback).
            unlike: ids to move away from.

        Returns:
            The hits of one query, or a list of them for a batch.

        Raises:
            QueryError: the query is empty, a drawing is blank, a file isn't there, or the run takes no text.
            GalleryError: the engine doesn't answer.
        """
        if k < 1:
            raise QueryError(f"{k} results", "Ask for 1 or more.")
        sketches, texts, photos = _as_query_batch(sketch), _as_query_batch(text), _as_query_batch(photo)
        batch = any(isinstance(side, list) for side in (sketches, texts, photos))
        count = _count_queries(sketches, texts, photos)
        ask = SearchQuery(
            weights=validate_weights(weights),
            without=(without,) if isinstance(without, str) else tuple(without),
            like=tuple(like),
            unlike=tuple(unlike),
        )
        asks = [
            replace(
                ask,
                sketch=None
                if (one := _query_input_at(sketches, place)) is None
                else to_query_image(one, "sketch"),
                text=_query_input_at(texts, place) or "",
                photo=None
                if (other := _query_input_at(photos, place)) is None
                else to_query_image(other, "photo"),
            )
            for place in range(count)
        ]
        found = self.search_queries(asks, k)
        return found if batch else found[0]

    def search_queries(self, queries: Sequence[SearchQuery], k: int) -> list[SearchResults]:
        """The hits of each query."""
        gallery, searched = self.gallery, len(self.gallery)
        if not searched:
            raise GalleryError(
                f"{self.folder} is empty: indexing was interrupted",
                "Index again: ssl-sbir index RUN FOLDER --out INDEX",
            )
        if not queries:
            return []
        asked = embed_queries(self.model, gallery, queries)
        found = gallery.search(torch.cat([it.vectors.vector for it in asked]), k)
        return [
            self._build_results(ask, it.vectors, it.notes, near, searched)
            for ask, it, near in zip(queries, asked, found, strict=True)
        ]

    @cached_property
    def source(self) -> ImageSource | None:
        """Opens the photos that were indexed; None where the data are gone."""
        data = self.gallery.facts.get("data") or {}
        if data.get("root"):
            return FileSource(Path(data["root"]))
        try:
            return open_data(data["spec"]).source
        except Exception:  # whatever a reader of one's own raises: results are shown without pictures
            return None

    @contextmanager
    def _open_for_indexing(
        self, folder: Path, engine: str | None, overwrite: bool, wait: float
    ) -> Iterator[Gallery]:
        """The gallery to put photos into: the one that is there, or a new one."""
        if not (folder / INDEX_FILE).is_file() or overwrite:
            facts = {"model": self.model.facts()}
            width = self.model.encoder.width
            with create_atomically(
                folder, width, engine=engine or "exact", facts=facts, overwrite=overwrite, wait=wait
            ) as gallery:
                yield gallery
            return
        stated = read_index(folder)
        if engine is not None:
            _check_same_engine(folder, engine, stated)
        gallery = self.open(folder).gallery
        try:
            yield gallery
        finally:
            gallery.close()

    def _build_results(
        self,
        ask: SearchQuery,
        query: QueryVectors,
        notes: Sequence[str],
        near: list[Neighbour],
        searched: int,
    ) -> SearchResults:
        photos = self.gallery.get_vectors([it.id for it in near])
        parts = {name: (photos @ part[0]).tolist() for name, part in query.parts.items()}
        hits = tuple(
            self._build_hit(rank, it, {name: values[rank - 1] for name, values in parts.items()})
            for rank, it in enumerate(near, 1)
        )
        gone = sum(hit.gone for hit in hits)
        lost = [f"{gone} of these photos were deleted after they were indexed; index again"] if gone else []
        return SearchResults(hits, ask, (*notes, *lost), searched, self)

    def _build_hit(self, rank: int, near: Neighbour, parts: dict[str, float]) -> SearchHit:
        path = self.source.path(near.id) if self.source else None
        gone = path is not None and not path.is_file()
        return SearchHit(rank, near.id, near.score, parts, near.metadata.get("label"), path, gone)


def _check_same_engine(folder: Path, engine: str, stated: Mapping[str, Any]) -> None:
    wanted, uri = parse_engine(engine)
    there, place = str(stated["engine"]), str((stated["facts"].get("milvus") or {}).get("uri", ""))
    if wanted != there or (":" in engine and uri != place):
        at = f" at {place}" if place else ""
        raise GalleryError(
            f"{folder} is an index of engine {there}{at}, not {engine}",
            "Leave --engine out, or start over: --overwrite",
        )


def _as_query_batch(given: Any) -> Any:
    """A list for a batch, else what was given; strokes are a list themselves, and one drawing."""
    if is_strokes(given):
        return given if isinstance(given, dict) else {"drawing": given}
    return list(given) if isinstance(given, list | tuple) else given


def _count_queries(*sides: Any) -> int:
    counts = {len(side) for side in sides if isinstance(side, list)}
    if len(counts) > 1:
        raise QueryError(
            f"a batch of {' and '.join(map(str, sorted(counts)))} queries", "Give lists of one length."
        )
    return counts.pop() if counts else 1


def _query_input_at(side: Any, place: int) -> Any:
    return side[place] if isinstance(side, list) else side
