"""Times a report, and explaining all results at once against one pair after the other without anything kept.

The reference embeds both pictures of a pair anew for every similarity, as an explanation of `score(drawing, photo)`
does that knows nothing of the two sides; masks and random maps are the same.

    python scripts/bench_explain.py
    python scripts/bench_explain.py efficientnet_lite0 --data folder:sketchy-sample/ --split sketchy-sake-25 --size 128

Prints seconds by the clock, processor seconds and images sent through the encoder: for a whole report (ranking,
maps, tests, page) with the gallery embedded, and for maps and their tests alone, together and pair by pair.
Seconds by the clock mean nothing on a busy machine; processor seconds and images do. With ten results at 128 px and
one thread: 11 s a report; maps and tests by default methods take 2.7 × less time together than pair by pair, stroke
maps 7.3 ×.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _timing import create_synthetic_data
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.explain import explain_pairs
from ssl_sbir.explain.attribution.encoded_images import EncodedImages, domain_tags, encode_images
from ssl_sbir.explain.attribution.heat_maps import DEFAULT_METHOD_MAPS, METHOD_MAPS, SideMaps
from ssl_sbir.explain.faithfulness.faithfulness_tests import BaselineAreas, evaluate_faithfulness
from ssl_sbir.explain.run.explain_query import build_query_report
from ssl_sbir.explain.run.explainer import Explainer

MapMethod = Callable[[EncodedImages, EncodedImages], SideMaps]


class CostMeter:
    """Counts what a call costs; images are counted at the encoder's first convolution."""

    def __init__(self, encoder: Encoder) -> None:
        self.images = 0
        first = next(part for part in encoder.modules() if isinstance(part, torch.nn.Conv2d))
        first.register_forward_pre_hook(self._count_images)

    def _count_images(self, _: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.images += len(inputs[0])

    def measure_call(self, what: str, call: Callable[[], Any]) -> float:
        """Prints what a call costs; its processor seconds."""
        images, clock, processor = self.images, time.perf_counter(), time.process_time()
        call()
        spent = time.process_time() - processor
        seconds = time.perf_counter() - clock
        print(
            f"{what:<44} {seconds:7.1f} s {spent:7.1f} processor s {self.images - images:7,} images",
            flush=True,
        )
        return spent


@dataclass(frozen=True)
class UncachedImages(EncodedImages):
    """A side that keeps nothing: the other side goes through the encoder again with every image of this one."""

    other_image: Tensor | None = None

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings of other images of this side, after the whole pair went through the encoder."""
        assert self.other_image is not None
        opposite = Domain.PHOTO if self.domain == Domain.SKETCH else Domain.SKETCH
        with torch.inference_mode():
            self.encoder(self.other_image.expand_as(image), domain_tags(image, opposite))
        return super().embed(image)


def explain_pair_by_pair(
    encoder: Encoder, image: Tensor, photos: Tensor, method: str, made: MapMethod, draws: int
) -> None:
    """The photos' maps and their tests, every pair on its own and every similarity from both pictures."""
    for photo in photos.split(1):
        ours, theirs = _uncached_sides(encoder, image[None], photo)
        maps = made(ours, theirs)
        values, sides = maps.photo, (theirs, ours)
        if values is None:
            values, sides = maps.sketch, (ours, theirs)
        assert values is not None
        plain = BaselineAreas(sides[0], sides[1].embedding, draws)
        evaluate_faithfulness(method, sides[0], values, sides[1].embedding, plain)


def _uncached_sides(encoder: Encoder, image: Tensor, photo: Tensor) -> tuple[UncachedImages, UncachedImages]:
    pairs = (image, Domain.SKETCH, photo), (photo, Domain.PHOTO, image)
    ours, theirs = (
        UncachedImages(**vars(encode_images(encoder, mine, domain)), other_image=other)
        for mine, domain, other in pairs
    )
    return ours, theirs


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoder", nargs="?", default="efficientnet_lite0")
    parser.add_argument("--data", help="drawn pictures by default")
    parser.add_argument("--split")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        _measure_explanations(options, options.data or create_synthetic_data(Path(folder)))


def _measure_explanations(options: argparse.Namespace, data: str) -> None:
    manifest = open_data(data)
    classes = Split.load(options.split).restrict_to(manifest.classes).unseen if options.split else None
    encoder = load_encoder(options.encoder, size=options.size)
    explainer = Explainer(encoder, manifest, classes, top=options.top, draws=options.draws)
    query = str(manifest.find_rows(Domain.SKETCH, classes)[0])
    meter = CostMeter(encoder)
    meter.measure_call("gallery (once; kept in the cache)", lambda: explainer.gallery)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        meter.measure_call(
            f"report of {options.top} results, default methods",
            lambda: build_query_report(explainer, explainer.search_and_explain(query)).save(page),
        )
        print(f"{'page':<44} {page.stat().st_size / 1e6:7.2f} MB")
    image = (
        explainer.gallery.pack.read_images(manifest.find_rows(Domain.SKETCH, classes)[:1])[0].float() / 255
    )
    photos = explainer.gallery.load_images(torch.arange(options.top).numpy())
    ways: tuple[tuple[str, Sequence[str] | None, str, MapMethod], ...] = (
        *(("default methods", None, *default) for default in DEFAULT_METHOD_MAPS.items()),
        ("strokes", ["strokes"], "strokes", METHOD_MAPS["strokes"]),
    )
    for name, methods, method, made in ways:
        together = meter.measure_call(
            f"{name}, all pairs at once",
            lambda chosen=methods: explain_pairs(  # type: ignore[misc]
                encoder, image, photos, methods=chosen, draws=options.draws
            ),
        )
        alone = meter.measure_call(
            f"{name}, pair by pair, nothing kept",
            lambda method=method, made=made: explain_pair_by_pair(  # type: ignore[misc]
                encoder, image, photos, method, made, options.draws
            ),
        )
        print(f"{'':<44} {alone / together:7.1f} × the processor time")


if __name__ == "__main__":
    main()
