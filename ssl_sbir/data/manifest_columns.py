"""The columns of a manifest while a reader fills them, a few dozen bytes per row."""

from array import array
from collections.abc import Collection

import numpy as np

from ssl_sbir.data.manifest import Domain, ImageSource, Manifest, StringColumn

MAX_WARNINGS = 50


class ManifestBuilder:
    """Collects rows one by one; `build_manifest` turns them into numpy columns without copies."""

    def __init__(self, classes: Collection[str] = ()) -> None:
        self.classes = tuple(sorted(classes))
        self.warnings: list[str] = []
        self.read_errors: list[str] = []
        self._label_of = {name: label for label, name in enumerate(self.classes)}
        self._blob, self._offsets = bytearray(), array("q", [0])
        self._domain, self._label = array("B"), array("i")
        self._instance, self._text = array("q"), array("i")
        self._instances: dict[tuple[str, str], int] = {}
        self._texts: dict[str, int] = {}

    def add(
        self,
        key: str,
        domain: Domain,
        label: str | None = None,
        instance: tuple[str, str] | None = None,
        text: str | None = None,
    ) -> None:
        """Adds an image; `instance` identifies the depicted thing within a class, `text` describes it."""
        self._blob += key.encode("utf-8", "surrogateescape")
        self._offsets.append(len(self._blob))
        self._domain.append(domain)
        self._label.append(-1 if label is None else self._label_of[label])
        self._instance.append(
            -1 if instance is None else self._instances.setdefault(instance, len(self._instances))
        )
        self._text.append(-1 if text is None else self._texts.setdefault(text, len(self._texts)))

    def build_manifest(self, name: str, source: ImageSource) -> Manifest:
        """The manifest of all added rows."""
        return Manifest(
            name=name,
            source=source,
            keys=StringColumn(np.frombuffer(self._blob, np.uint8), np.frombuffer(self._offsets, np.int64)),
            domain=np.frombuffer(self._domain, np.uint8),
            label=np.frombuffer(self._label, np.int32),
            classes=self.classes,
            instance=np.frombuffer(self._instance, np.int64),
            texts=StringColumn.from_strings(self._texts),
            text=np.frombuffer(self._text, np.int32),
            warnings=self._limited_warnings(),
            read_errors=tuple(self.read_errors),
        )

    def _limited_warnings(self) -> tuple[str, ...]:
        left_out = len(self.warnings) - MAX_WARNINGS
        more = (f"… and {left_out:,} more",) if left_out > 0 else ()
        return (*self.warnings[:MAX_WARNINGS], *more)
