"""Search photos by a drawing, a sentence, a photo, or several of them together."""

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
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import GalleryError, QueryError
from ssl_sbir.gallery.base import WRITE_WAIT_SECONDS, Gallery, Neighbour
from ssl_sbir.gallery.create import create_atomically, open_gallery, parse_engine
from ssl_sbir.gallery.index_photos import INDEX_BATCH_SIZE, IndexingSummary, index_photos
from ssl_sbir.gallery.store import INDEX_FILE, read_index
from ssl_sbir.run import RunFolder
from ssl_sbir.search.hit import SearchHit
from ssl_sbir.search.index_text_side import (
    IndexTextOptions,
    load_index_text_side,
    remove_index_text_side,
    write_index_text_side,
)
from ssl_sbir.search.model import SearchModel
from ssl_sbir.search.query import SearchQuery, embed_queries, validate_weights
from ssl_sbir.search.query_arithmetic import QueryVectors
from ssl_sbir.search.query_image import QueryImage, is_strokes, to_query_image
from ssl_sbir.search.results import SearchResults

QueryInput = Any  # an image in any form that `to_query_image` accepts, or a list of them


class Retriever:
    """A model and, once there is one, the index it searches.

    Attributes:
        model: embeds photos and queries.
        folder: of the index; None before `index` or `open`.
        indexing_summary: what `index` did; None for an index that was only opened.
        notes: what indexing has to say besides, a sentence each.
    """

    def __init__(
        self,
        model: SearchModel,
        folder: Path | None = None,
        gallery: Gallery | None = None,
        *,
        source: ImageSource | None = None,
        indexing_summary: IndexingSummary | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.model, self.folder, self.indexing_summary = model, folder, indexing_summary
        self.notes = tuple(notes)
        self._gallery, self._source = gallery, source

    @classmethod
    def load(
        cls, model: str | Path | Encoder | RunFolder, *, device: str = AUTO, with_teacher: bool = True
    ) -> "Retriever":
        """A retriever for a run's folder, an encoder's name (`ssl-sbir encoders`), or an encoder.

        Args:
            model: the run or encoder.
            device: where to compute: auto (a GPU where there is one), cpu, cuda or mps.
            with_teacher: for a run that recalls a teacher, embed photos by the teacher too: texts find more, and
                indexing takes longer.

        Raises:
            RunError, EncoderError: it can't be loaded.
            ConfigError: this machine has no such device.
        """
        return cls(SearchModel.load(model, resolve_device(device), with_teacher=with_teacher))

    def index(
        self,
        data: str | Path | Manifest,
        out: str | Path | None = None,
        *,
        engine: str | None = None,
        overwrite: bool = False,
        batch_size: int = INDEX_BATCH_SIZE,
        wait: float = WRITE_WAIT_SECONDS,
        vocabulary: str | Path | None = None,
        text_encoder: str | None = None,
    ) -> "Retriever":
        """A retriever of the photos of some data; an existing index is brought up to date.

        Args:
            data: a folder, a data spec such as `sketchy:PATH`, or a manifest.
            out: folder of the index; by default a temporary one, deleted with the retriever.
            engine: see `create_atomically`; by default `exact`, or the engine of the existing index.
            overwrite: replace an existing index.
            batch_size: photos embedded at a time.
            wait: seconds to wait for another process that writes the index.
            vocabulary: a file of names by which texts are read in this index, in place of the model's classes; each
                name means the photos in the folder of that name.
            text_encoder: name of the encoder that reads texts in this index; by default the model's own, or MiniLM.

        Raises:
            DataError: the data don't exist.
            GalleryError: they hold no photos, or the index is another model's or can't be written.
            ConfigError, QueryError, EncoderError: vocabulary or text encoder can't be used.
        """
        manifest = data if isinstance(data, Manifest) else open_data(str(data))
        folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="ssl-sbir-index-"))
        if (folder / INDEX_FILE).is_file() and not overwrite:
            variant = self.model.for_index(read_index(folder)["facts"])
            if variant is not self.model:  # the existing index was made without the teacher's code
                return Retriever(variant).index(
                    manifest,
                    out,
                    engine=engine,
                    batch_size=batch_size,
                    wait=wait,
                    vocabulary=vocabulary,
                    text_encoder=text_encoder,
                )
        text_options = IndexTextOptions.from_request(self.model, vocabulary, text_encoder)
        with self._open_for_indexing(folder, engine, overwrite, wait) as gallery:
            summary = index_photos(
                self.model.encoder,
                manifest,
                gallery,
                device=self.model.device,
                batch_size=batch_size,
                wait=wait,
            )
            if recall := gallery.recall_facts():
                gallery.update_facts(**recall)
        if overwrite:
            remove_index_text_side(folder)
        notes = self._write_text_side(folder, text_options) if text_options else []
        retriever = Retriever(
            self._index_model(folder),
            folder,
            self._open_index(folder),
            source=manifest.source,
            indexing_summary=summary,
            notes=notes,
        )
        if out is None:
            weakref.finalize(retriever, shutil.rmtree, folder, ignore_errors=True)
        return retriever

    def open(self, index: str | Path) -> "Retriever":
        """A retriever of an existing index.

        Raises:
            GalleryError: there is none, or it holds another model's vectors.
        """
        folder = Path(index)
        return Retriever(self._index_model(folder), folder, self._open_index(folder))

    def _index_model(self, folder: Path) -> SearchModel:
        """The variant of the model that made an index, with the text side of the index's own where it has one."""
        model, side = self.model.for_index(read_index(folder)["facts"]), load_index_text_side(folder)
        return model if side is None else model.with_vocabulary(side)

    def _write_text_side(self, folder: Path, options: IndexTextOptions) -> list[str]:
        gallery = self._open_index(folder)
        try:
            return write_index_text_side(folder, gallery, options)
        finally:
            gallery.close()

    @property
    def gallery(self) -> Gallery:
        """The index.

        Raises:
            QueryError: nothing has been indexed or opened.
        """
        if self._gallery is None:
            raise QueryError("there is nothing to search", "Call .index(folder) or .open(index) first.")
        return self._gallery

    @cached_property
    def source(self) -> ImageSource | None:
        """Opens the indexed photos; None where the data are gone."""
        if self._source is not None:
            return self._source
        return _open_indexed_source(self.gallery.facts.get("data") or {})

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
        """The photos nearest to a query of any of sketch, text and photo; lists of them make a batch.

        Negations in a sentence ("not a cartoon", "without people") are taken out of it and the query is moved away
        from them, because text encoders don't understand negation. They lower scores; they exclude nothing for certain.

        Args:
            sketch: a path, PIL image, array, SVG drawing or strokes; or a list of them.
            text: a sentence, or one for each query of a batch.
            photo: a photo, to find similar ones; or a list of them.
            k: how many results.
            weights: how much "sketch", "text" and "photo" count; only the ratio matters. By default drawing and text
                count as the run was calibrated, and a photo as much as each of the others.
            without: texts to move away from.
            like: ids to move towards (relevance feedback).
            unlike: ids to move away from.

        Returns:
            The results of one query, or a list of them for a batch.

        Raises:
            QueryError: the query is empty, a drawing is blank, a file doesn't exist, or the run takes no text.
            GalleryError: the engine doesn't answer.
        """
        if k < 1:
            raise QueryError(f"{k} results", "Ask for 1 or more.")
        sketches, texts, photos = _as_query_batch(sketch), _as_query_batch(text), _as_query_batch(photo)
        is_batch = any(isinstance(inputs, list) for inputs in (sketches, texts, photos))
        shared = SearchQuery(
            weights=validate_weights(weights),
            without=(without,) if isinstance(without, str) else tuple(without),
            like=tuple(like),
            unlike=tuple(unlike),
        )
        queries = [
            replace(
                shared,
                sketch=_query_image_at(sketches, index, "sketch"),
                text=_query_input_at(texts, index) or "",
                photo=_query_image_at(photos, index, "photo"),
            )
            for index in range(_count_queries(sketches, texts, photos))
        ]
        results = self.search_queries(queries, k)
        return results if is_batch else results[0]

    def search_queries(self, queries: Sequence[SearchQuery], k: int) -> list[SearchResults]:
        """The results of each query.

        Raises:
            QueryError, GalleryError: as `search`.
        """
        gallery, size = self.gallery, len(self.gallery)
        if not size:
            raise GalleryError(
                f"{self.folder} is empty: indexing was interrupted",
                "Index again: ssl-sbir index RUN FOLDER --out INDEX",
            )
        if not queries:
            return []
        embedded = embed_queries(self.model, gallery, queries)
        neighbours = gallery.search(torch.cat([one.vectors.vector for one in embedded]), k)
        return [
            self._build_results(query, one.vectors, one.notes, nearest, size)
            for query, one, nearest in zip(queries, embedded, neighbours, strict=True)
        ]

    def _open_index(self, folder: Path) -> Gallery:
        facts = read_index(folder)["facts"]
        self.model.for_index(facts).check_index_model(folder, facts)
        return open_gallery(folder, device=self.model.device)

    @contextmanager
    def _open_for_indexing(
        self, folder: Path, engine: str | None, overwrite: bool, wait: float
    ) -> Iterator[Gallery]:
        """The gallery to put photos into: the existing one, or a new one."""
        if not (folder / INDEX_FILE).is_file() or overwrite:
            facts = {"model": self.model.facts()}
            width = self.model.encoder.width
            with create_atomically(
                folder, width, engine=engine or "exact", facts=facts, overwrite=overwrite, wait=wait
            ) as gallery:
                yield gallery
            return
        if engine is not None:
            _check_same_engine(folder, engine, read_index(folder))
        gallery = self._open_index(folder)
        try:
            yield gallery
        finally:
            gallery.close()

    def _build_results(
        self,
        query: SearchQuery,
        vectors: QueryVectors,
        notes: Sequence[str],
        nearest: list[Neighbour],
        gallery_size: int,
    ) -> SearchResults:
        photos = self.gallery.get_vectors([neighbour.id for neighbour in nearest])
        parts = {name: (photos @ part[0]).tolist() for name, part in vectors.parts.items()}
        hits = tuple(
            self._build_hit(rank, neighbour, {name: values[rank - 1] for name, values in parts.items()})
            for rank, neighbour in enumerate(nearest, 1)
        )
        gone = sum(hit.gone for hit in hits)
        lost = [f"{gone} of these photos were deleted after they were indexed; index again"] if gone else []
        return SearchResults(hits, query, (*notes, *lost), gallery_size, self)

    def _build_hit(self, rank: int, neighbour: Neighbour, parts: dict[str, float]) -> SearchHit:
        path = self.source.path(neighbour.id) if self.source else None
        gone = path is not None and not path.is_file()
        label = neighbour.metadata.get("label")
        return SearchHit(rank, neighbour.id, neighbour.score, parts, label, path, gone)


def _open_indexed_source(data: Mapping[str, Any]) -> ImageSource | None:
    """Opens the photos that an index names under `data`; None where they are gone."""
    if data.get("root"):
        return FileSource(Path(data["root"]))
    try:
        return open_data(data["spec"]).source
    except Exception:  # whatever a user's own reader raises: results are shown without images
        return None


def _check_same_engine(folder: Path, engine: str, index: Mapping[str, Any]) -> None:
    wanted, uri = parse_engine(engine)
    current, current_uri = str(index["engine"]), str((index["facts"].get("milvus") or {}).get("uri", ""))
    if wanted != current or (":" in engine and uri != current_uri):
        at = f" at {current_uri}" if current_uri else ""
        raise GalleryError(
            f"{folder} is an index of engine {current}{at}, not {engine}",
            "Leave --engine out, or start over: --overwrite",
        )


def _as_query_batch(value: Any) -> Any:
    """A list for a batch, else the value itself; strokes are lists too, and one drawing."""
    if is_strokes(value):
        return value if isinstance(value, dict) else {"drawing": value}
    return list(value) if isinstance(value, list | tuple) else value


def _count_queries(*inputs: Any) -> int:
    counts = {len(values) for values in inputs if isinstance(values, list)}
    if len(counts) > 1:
        raise QueryError(
            f"a batch of {' and '.join(map(str, sorted(counts)))} queries", "Give lists of one length."
        )
    return counts.pop() if counts else 1


def _query_input_at(values: Any, index: int) -> Any:
    return values[index] if isinstance(values, list) else values


def _query_image_at(values: Any, index: int, modality: str) -> QueryImage | None:
    value = _query_input_at(values, index)
    return None if value is None else to_query_image(value, modality)
