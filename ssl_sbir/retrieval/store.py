"""An index folder: `index.json` names the segments that count; whatever it doesn't name isn't there.

A change writes new files beside the old ones and then replaces `index.json`, so a crash at any moment leaves the
index as it was. Readers keep the segments they mapped even after those are replaced.
"""

import json
import secrets
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import GalleryError
from ssl_sbir.files import cannot_write, saying_what_fails, write_atomic
from ssl_sbir.progress import progress
from ssl_sbir.retrieval.gallery import WAIT, Metadata
from ssl_sbir.retrieval.segments import DAMAGED, Draft, Segment, keys_of, save_gone

INDEX, LOCK, FORMAT = "index.json", "index.lock", 1
STAGING = ".staging-"  # folders of indexes that are being made
PATIENCE = 2.0  # seconds before waiting for another writer is announced
MANY = 8  # segments; one more and the small ones are merged
BLOCK = 65_536


class Store:
    """Rows on disk, changed in transactions.

    Attributes:
        folder: the index.
        engine: how it is searched.
        width: length of a vector.
        facts: what else `index.json` says.
        segments: in gallery order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._draft: Draft | None = None
        self._changed: dict[str, Any] | None = None
        self._dirty: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Reads what the index holds now."""
        for attempt in range(3):
            stated = read_index(self.folder)
            try:
                self.segments = [
                    Segment(self.folder, it["name"], it["rows"], stated["width"], it["gone"])
                    for it in stated["segments"]
                ]
            except FileNotFoundError as error:  # a writer merged segments in between: read again
                if attempt == 2:
                    raise GalleryError(
                        f"{self.folder} is damaged: {error.filename} is missing", DAMAGED
                    ) from error
                continue
            break
        self.engine, self.width = str(stated["engine"]), int(stated["width"])
        self.facts: dict[str, Any] = stated["facts"]
        self.identity = str(stated.get("identity"))
        self._generation = int(stated["generation"])

    def __len__(self) -> int:
        return sum(segment.live for segment in self.segments)

    @contextmanager
    def writing(self, wait: float = WAIT) -> Iterator[None]:
        """See `Gallery.writing`; inside another one it does nothing."""
        if self._changed is not None:
            yield
            return
        with locked(self.folder, wait):
            refuse_another(self.folder, self.identity)
            self.refresh()
            tidy(self.folder)
            self._changed = {}
            try:
                yield
                with saying_what_fails(self.folder):
                    self._commit()
            finally:
                if self._draft is not None:
                    self._draft.abandon()
                self._draft, self._changed, self._dirty = None, None, set()
                tidy(self.folder)
                self.refresh()

    def append(self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata]) -> None:
        """Adds rows; earlier rows of the same ids are gone."""
        with self.writing(), saying_what_fails(self.folder):
            self._mark_gone(ids)
            if self._draft is None:
                self._draft = self._new_draft()
            self._draft.append(ids, vectors, metadata)

    def remove(self, ids: Collection[str]) -> int:
        """How many of these items were there and are now gone."""
        names = list(dict.fromkeys(ids))
        with self.writing():
            drafted = self._draft.remove(names) if self._draft else 0
            return drafted + self._mark_gone(names)

    def note(self, **facts: Any) -> None:
        """Replaces some facts."""
        with self.writing():
            assert self._changed is not None
            self._changed.update(facts)

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Id and metadata of every item."""
        for segment in self.segments:
            for row in np.flatnonzero(~segment.gone).tolist():
                yield segment.id_of(row), segment.metadata_of(row)

    def built(self, draft: Draft) -> None:
        """What an engine adds to a finished segment's folder; nothing here."""

    def _mark_gone(self, ids: Sequence[str]) -> int:
        keys, count = keys_of(ids), 0
        for segment in self.segments:
            rows = segment.rows_of(ids, keys)
            rows = rows[rows >= 0]
            if len(rows):
                segment.gone[rows] = True
                self._dirty.add(segment.name)
                count += len(rows)
        return count

    def _new_draft(self) -> Draft:
        # A name that was once in an index never comes back with other rows, not even after an overwrite.
        return Draft(self.folder / f"segment-{self._generation + 1:06}-{secrets.token_hex(4)}")

    def _commit(self) -> None:
        if self._draft is None and not self._dirty and not self._changed:
            return
        kept = [segment for segment in self.segments if segment.live]
        if self._draft is not None and self._draft.rows:
            kept.append(self._finished(self._draft))
        merge = _to_merge(kept)
        if merge:
            kept = [*kept[: len(kept) - merge], *self._merged(kept[-merge:])]
        assert self._changed is not None
        self._generation += 1
        for segment in kept:
            if segment.name in self._dirty:
                segment.gone_file = f"gone-{self._generation:06}.npy"
                save_gone(segment.folder, segment.gone_file, segment.gone)
        self.segments, self.facts = kept, {**self.facts, **self._changed}
        write_index(
            self.folder, self.engine, self.width, self.facts, kept, self._generation, identity=self.identity
        )

    def _finished(self, draft: Draft) -> Segment:
        gone = draft.finish()
        self.built(draft)
        segment = Segment(self.folder, draft.folder.name, draft.rows, self.width)
        segment.gone |= gone
        if gone.any():
            self._dirty.add(segment.name)
        self._draft = None
        return segment

    def _merged(self, old: Sequence[Segment]) -> list[Segment]:
        draft = self._draft = self._new_draft()
        with progress(sum(map(len, old)), "merging", "row") as counter:
            for segment in old:
                for start in range(0, len(segment), BLOCK):
                    rows = np.flatnonzero(~segment.gone[start : start + BLOCK]) + start
                    draft.append(
                        [segment.id_of(row) for row in rows.tolist()],
                        segment.block(start, BLOCK)[rows - start],
                        [segment.metadata_of(row) for row in rows.tolist()],
                    )
                    counter.advance(min(BLOCK, len(segment) - start))
        if not draft.rows:
            draft.abandon()
            self._draft = None
            return []
        return [self._finished(draft)]


def tidy(folder: Path) -> None:
    """Removes what `index.json` doesn't name: drafts that came to nothing, and what was replaced.

    Only whoever holds the lock may: another process's drafts would go too.
    """
    named = {it["name"]: it["gone"] for it in read_index(folder)["segments"]}
    for part in (*folder.glob("segment-*"), *folder.glob(f"{STAGING}*")):
        if part.name not in named:
            shutil.rmtree(part, ignore_errors=True)
            continue
        for file in part.glob("gone-*.npy"):
            if file.name != named[part.name]:
                file.unlink(missing_ok=True)


def refuse_another(folder: Path, opened: str) -> None:
    """Makes sure that the index is the one that was opened, by its identity.

    Raises:
        GalleryError: it was made anew in between, maybe with another model.
    """
    if str(read_index(folder).get("identity")) != opened:
        raise GalleryError(f"{folder} was made anew since it was opened", "Open it again.")


def _to_merge(segments: Sequence[Segment]) -> int:
    """How many of the last segments should become one; 0 for none."""
    rows, live = sum(map(len, segments)), sum(segment.live for segment in segments)
    if 2 * live < rows:
        return len(segments)
    if len(segments) <= MANY:
        return 0
    return len(segments) if 2 * len(segments[0]) < rows else len(segments) - 1


@contextmanager
def locked(folder: Path, wait: float) -> Iterator[None]:
    """Holds an index against other writers.

    Raises:
        GalleryError: another process holds it for longer than `wait` seconds.
    """
    lock = FileLock(folder / LOCK)
    try:
        _acquire(lock, folder, wait)
    except Timeout as error:
        raise GalleryError(
            f"{folder}: another process has been writing this index for {wait:g} s or more",
            "Wait for it to end, or write another index.",
        ) from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, folder: Path, wait: float) -> None:
    try:
        lock.acquire(timeout=min(wait, PATIENCE))
    except Timeout:
        if wait <= PATIENCE:
            raise
        print(f"waiting for another process that writes {folder}, up to {wait:g} s", file=sys.stderr)
        lock.acquire(timeout=wait - PATIENCE)


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
    """Writes `index.json`, whole: from here on the index is what it names; without an identity it is a new one."""
    named = [{"name": it.name, "rows": len(it), "gone": it.gone_file} for it in segments]
    stated = {
        "format": FORMAT,
        "engine": engine,
        "width": width,
        "generation": generation,
        "identity": identity or secrets.token_hex(8),
        "facts": facts,
        "segments": named,
    }
    write_stated(folder, stated)


def write_stated(folder: Path, stated: dict[str, Any]) -> None:
    """Writes `index.json` as `read_index` gives it."""
    write_atomic(folder / INDEX, json.dumps(stated, indent=1, default=str) + "\n")


def read_index(folder: Path) -> dict[str, Any]:
    """What `index.json` says.

    Raises:
        GalleryError: there is no index, or it is damaged or of another format.
    """
    try:
        stated = json.loads((folder / INDEX).read_text("utf-8"))
        known = stated["format"]
        _ = stated["engine"], stated["width"], stated["facts"], stated["segments"], stated["generation"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GalleryError(
            f"no index at {folder}", "Make one: ssl-sbir index RUN FOLDER --out INDEX"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GalleryError(f"{folder / INDEX} can't be read: {error!r}", DAMAGED) from error
    if known != FORMAT:
        raise GalleryError(f"{folder} has index format {known}, this version reads {FORMAT}", DAMAGED)
    return stated
