"""An index folder: `index.json` names the valid segments; all other files are ignored.

A change writes new files beside the old ones and then replaces `index.json`, so a crash at any moment leaves the
index unchanged. Readers keep the segments they mapped even after those are replaced.
"""

import json
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import GalleryError
from ssl_sbir.files import hold_file_lock, translate_write_errors, write_atomic
from ssl_sbir.gallery.base import WRITE_WAIT_SECONDS, Metadata
from ssl_sbir.gallery.segments import REINDEX_HINT, Segment, SegmentWriter, hash_ids, save_gone_rows
from ssl_sbir.progress import show_progress

INDEX_FILE, LOCK_FILE, INDEX_FORMAT = "index.json", "index.lock", 1
STAGING_PREFIX = ".staging-"  # folders of unfinished indexes
MAX_SEGMENTS = 8  # with one more, the small ones are merged
MERGE_BLOCK_ROWS = 65_536


class SegmentStore:
    """Rows on disk, changed in transactions.

    Attributes:
        folder: of the index.
        engine: searches it.
        width: length of a vector.
        facts: further facts in `index.json`.
        segments: in gallery order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._draft: SegmentWriter | None = None
        self._pending_facts: dict[str, Any] | None = None
        self._changed_segments: set[str] = set()
        self.reload_index()

    def reload_index(self) -> None:
        """Reads the current state of the index."""
        for attempt in range(3):
            index = read_index(self.folder)
            try:
                self.segments = [
                    Segment(self.folder, it["name"], it["rows"], index["width"], it["gone"])
                    for it in index["segments"]
                ]
            except FileNotFoundError as error:  # a writer has just merged segments: read again
                if attempt == 2:
                    raise GalleryError(
                        f"{self.folder} is damaged: {error.filename} is missing", REINDEX_HINT
                    ) from error
                continue
            break
        self.engine, self.width = str(index["engine"]), int(index["width"])
        self.facts: dict[str, Any] = index["facts"]
        self.identity = str(index.get("identity"))
        self._generation = int(index["generation"])

    def __len__(self) -> int:
        return sum(segment.num_live for segment in self.segments)

    @contextmanager
    def write_transaction(self, wait: float = WRITE_WAIT_SECONDS) -> Iterator[None]:
        """See `Gallery.write_transaction`; a nested one does nothing."""
        if self._pending_facts is not None:
            yield
            return
        with lock_index(self.folder, wait):
            check_same_identity(self.folder, self.identity)
            self.reload_index()
            remove_unnamed_files(self.folder)
            self._pending_facts = {}
            try:
                yield
                with translate_write_errors(self.folder):
                    self._commit_changes()
            finally:
                if self._draft is not None:
                    self._draft.close_unfinished()
                self._draft, self._pending_facts, self._changed_segments = None, None, set()
                remove_unnamed_files(self.folder)
                self.reload_index()

    def append_rows(
        self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata]
    ) -> None:
        """Appends rows; earlier rows of the same ids are marked as gone."""
        with self.write_transaction(), translate_write_errors(self.folder):
            self._mark_gone(ids)
            if self._draft is None:
                self._draft = self._new_draft()
            self._draft.append_rows(ids, vectors, metadata)

    def remove(self, ids: Collection[str]) -> int:
        """Removes items and returns how many of them existed."""
        names = list(dict.fromkeys(ids))
        with self.write_transaction():
            drafted = self._draft.remove(names) if self._draft else 0
            return drafted + self._mark_gone(names)

    def update_facts(self, **facts: Any) -> None:
        """Replaces some facts."""
        with self.write_transaction():
            assert self._pending_facts is not None
            self._pending_facts.update(facts)

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields id and metadata of every item."""
        for segment in self.segments:
            for row in np.flatnonzero(~segment.gone).tolist():
                yield segment.id_of(row), segment.metadata_of(row)

    def build_segment_index(self, draft: SegmentWriter) -> None:
        """Adds an engine's index to a finished segment; does nothing here."""

    def _mark_gone(self, ids: Sequence[str]) -> int:
        keys, count = hash_ids(ids), 0
        for segment in self.segments:
            rows = segment.find_rows(ids, keys)
            rows = rows[rows >= 0]
            if len(rows):
                segment.gone[rows] = True
                self._changed_segments.add(segment.name)
                count += len(rows)
        return count

    def _new_draft(self) -> SegmentWriter:
        # No name is used again for other rows, not even after an overwrite: readers may still have it open.
        return SegmentWriter(self.folder / f"segment-{self._generation + 1:06}-{secrets.token_hex(4)}")

    def _commit_changes(self) -> None:
        if self._draft is None and not self._changed_segments and not self._pending_facts:
            return
        segments = [segment for segment in self.segments if segment.num_live]
        if self._draft is not None and self._draft.rows:
            segments.append(self._finish_draft(self._draft))
        merge = _count_segments_to_merge(segments)
        if merge:
            segments = [*segments[: len(segments) - merge], *self._merge_segments(segments[-merge:])]
        assert self._pending_facts is not None
        self._generation += 1
        for segment in segments:
            if segment.name in self._changed_segments:
                segment.gone_file = f"gone-{self._generation:06}.npy"
                save_gone_rows(segment.folder, segment.gone_file, segment.gone)
        self.segments, self.facts = segments, {**self.facts, **self._pending_facts}
        write_index(
            self.folder,
            self.engine,
            self.width,
            self.facts,
            segments,
            self._generation,
            identity=self.identity,
        )

    def _finish_draft(self, draft: SegmentWriter) -> Segment:
        gone = draft.finish_segment()
        self.build_segment_index(draft)
        segment = Segment(self.folder, draft.folder.name, draft.rows, self.width)
        segment.gone |= gone
        if gone.any():
            self._changed_segments.add(segment.name)
        self._draft = None
        return segment

    def _merge_segments(self, old: Sequence[Segment]) -> list[Segment]:
        draft = self._draft = self._new_draft()
        with show_progress(sum(map(len, old)), "merging", "row") as counter:
            for segment in old:
                for start in range(0, len(segment), MERGE_BLOCK_ROWS):
                    rows = np.flatnonzero(~segment.gone[start : start + MERGE_BLOCK_ROWS]) + start
                    draft.append_rows(
                        [segment.id_of(row) for row in rows.tolist()],
                        segment.block_vectors(start, MERGE_BLOCK_ROWS)[rows - start],
                        [segment.metadata_of(row) for row in rows.tolist()],
                    )
                    counter.advance(min(MERGE_BLOCK_ROWS, len(segment) - start))
        if not draft.rows:
            draft.close_unfinished()
            self._draft = None
            return []
        return [self._finish_draft(draft)]


def remove_unnamed_files(folder: Path) -> None:
    """Removes files that `index.json` doesn't name: unfinished drafts and replaced segments.

    The caller must hold the lock: another process's drafts would be removed too.
    """
    named = {it["name"]: it["gone"] for it in read_index(folder)["segments"]}
    for part in (*folder.glob("segment-*"), *folder.glob(f"{STAGING_PREFIX}*")):
        if part.name not in named:
            shutil.rmtree(part, ignore_errors=True)
            continue
        for file in part.glob("gone-*.npy"):
            if file.name != named[part.name]:
                file.unlink(missing_ok=True)


def check_same_identity(folder: Path, expected_identity: str) -> None:
    """Makes sure that the index is still the one that was opened.

    Raises:
        GalleryError: it has been overwritten since, perhaps with another model.
    """
    if str(read_index(folder).get("identity")) != expected_identity:
        raise GalleryError(f"{folder} was overwritten after it was opened", "Open it again.")


def _count_segments_to_merge(segments: Sequence[Segment]) -> int:
    """How many of the last segments to merge into one; 0 for none."""
    rows, live = sum(map(len, segments)), sum(segment.num_live for segment in segments)
    if 2 * live < rows:
        return len(segments)
    if len(segments) <= MAX_SEGMENTS:
        return 0
    return len(segments) if 2 * len(segments[0]) < rows else len(segments) - 1


@contextmanager
def lock_index(folder: Path, wait: float) -> Iterator[None]:
    """Locks an index against other writers.

    Raises:
        GalleryError: another process holds it for longer than `wait` seconds.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_file_lock(folder / LOCK_FILE, wait))
        except TimeoutError as error:
            raise GalleryError(
                f"{folder}: another process has been writing this index for {wait:g} s or more",
                "Wait for it to end, or write another index.",
            ) from error
        yield


def write_index(
    folder: Path,
    engine: str,
    width: int,
    facts: dict[str, Any],
    segments: Sequence[Segment] = (),
    generation: int = 0,
    *,
    identity: str | None = None,
) -> None:
    """Writes `index.json`, which makes its segments valid; without an identity it is a new index."""
    named = [{"name": it.name, "rows": len(it), "gone": it.gone_file} for it in segments]
    contents = {
        "format": INDEX_FORMAT,
        "engine": engine,
        "width": width,
        "generation": generation,
        "identity": identity or secrets.token_hex(8),
        "facts": facts,
        "segments": named,
    }
    write_index_contents(folder, contents)


def write_index_contents(folder: Path, contents: dict[str, Any]) -> None:
    """Writes the contents of `index.json`, as `read_index` returns them."""
    write_atomic(folder / INDEX_FILE, json.dumps(contents, indent=1, default=str) + "\n")


def read_index(folder: Path) -> dict[str, Any]:
    """The contents of `index.json`.

    Raises:
        GalleryError: there is no index, or it is damaged or of another format.
    """
    try:
        contents = json.loads((folder / INDEX_FILE).read_text("utf-8"))
        version = contents["format"]
        _ = [contents[key] for key in ("engine", "width", "facts", "segments", "generation")]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GalleryError(
            f"no index at {folder}", "Make one: ssl-sbir index RUN FOLDER --out INDEX"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GalleryError(f"{folder / INDEX_FILE} can't be read: {error!r}", REINDEX_HINT) from error
    if version != INDEX_FORMAT:
        raise GalleryError(
            f"{folder} has index format {version}, this version reads {INDEX_FORMAT}", REINDEX_HINT
        )
    return contents
