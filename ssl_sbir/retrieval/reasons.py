"""Why photos came back, through the explanation room: the bridge from hits to its page."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ssl_sbir.data.manifest import Domain, Manifest, Strings
from ssl_sbir.errors import QueryError
from ssl_sbir.retrieval.model import SearchModel
from ssl_sbir.retrieval.refusals import asked_and_refused

if TYPE_CHECKING:
    from ssl_sbir.explain.query import QueryReport
    from ssl_sbir.retrieval.hits import Hits


def reasons(hits: "Hits", top: int, **more: Any) -> "QueryReport":
    """The facts and pictures of why the first hits came back; see `Hits.explain`.

    Raises:
        QueryError: no photo that came back is left.
    """
    from ssl_sbir.explain.explainer import Explainer
    from ssl_sbir.explain.query import report_of

    model, there = hits.retriever.model, [hit.id for hit in hits if not hit.gone]
    source = hits.retriever.source
    if not there or source is None:
        raise QueryError("no photo that came back can be read", "Put the photos back, or index again.")
    text = asked_and_refused(hits.ask.text)[0]
    explainer = Explainer(
        model.encoder,
        _photos(there, source, str(hits.retriever.folder)),
        top=top,
        fuse=_fuse(model, dict(hits.ask.weights)) if text else None,
        device=model.device,
        **more,
    )
    settings = {
        "encoder": model.name,
        "compared": f"the {len(there)} photos that came back, of {hits.searched:,} searched",
    }
    with tempfile.TemporaryDirectory() as folder:
        return report_of(explainer, explainer.answer(_file(hits, Path(folder)), text), settings)


def _photos(ids: Sequence[str], source: Any, name: str) -> Manifest:
    none, count = Strings.of([]), len(ids)
    return Manifest(
        name=name,
        source=source,
        keys=Strings.of(ids),
        domain=np.full(count, int(Domain.PHOTO), np.uint8),
        label=np.full(count, -1, np.int32),
        classes=(),
        instance=np.full(count, -1, np.int64),
        texts=none,
        text=np.full(count, -1, np.int32),
    )


def _file(hits: "Hits", folder: Path) -> str:
    drawing = hits.ask.sketch
    assert drawing is not None
    if drawing.image is None:
        return str(drawing.file)
    drawing.image.save(folder / "drawing.png")
    return str(folder / "drawing.png")


def _fuse(model: SearchModel, weights: dict[str, float]) -> Any:
    both = (weights.get("sketch", 1.0), weights.get("text", 1.0)) if weights else None

    def fuse(image: Tensor, texts: Sequence[str]) -> Tensor:
        told = [text for text in texts if text]
        vectors = model.embedded(image[None], Domain.SKETCH).expand(len(texts), -1).clone()
        if told:
            parts = model.fused(image[None].expand(len(told), -1, -1, -1), told, both)
            places = torch.tensor([bool(text) for text in texts])
            vectors[places] = torch.stack(list(parts.values())).sum(0)
        return vectors

    return fuse
