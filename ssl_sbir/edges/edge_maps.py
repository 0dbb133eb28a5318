"""Edge maps of all photos of a pack, computed once into a memory-mapped file beside it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from kornia.filters import gaussian_blur2d, spatial_gradient
from torch import Tensor

from ssl_sbir.data.batches import Pack
from ssl_sbir.data.image_pack import iter_decoded_chunks, pack_key
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.edges.hed import load_hed
from ssl_sbir.files import cache_dir, hold_file_lock, resumable_array, resumable_folder, sha256_of
from ssl_sbir.precision import has_bf16
from ssl_sbir.progress import show_progress

EDGE_MAPS_VERSION = "1"
EDGE_LINES_SIDE = 192
EDGE_BATCH_SIZE = 16  # photos
EdgeMapBatch = Float[Tensor, "b 1 s s"]
PhotoRows = npt.NDArray[np.int64]


class EdgeMaps:
    """Maps by manifest row.

    Attributes:
        folder: where they lie.
        key: hash of the pack and the detector.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key: str = json.loads((folder / "edges.json").read_text("utf-8"))["key"]
        self._map_index = torch.from_numpy(np.load(folder / "place.npy", allow_pickle=False))
        self._maps = np.load(folder / "maps.npy", mmap_mode="r", allow_pickle=False)
        if (
            self._maps.dtype != np.uint8
            or self._maps.ndim != 3
            or int(self._map_index.max()) >= len(self._maps)
        ):
            raise ValueError(f"{folder} holds {self._maps.dtype} {self._maps.shape}")

    def __len__(self) -> int:
        return len(self._maps)

    def read_maps(self, rows: Tensor) -> UInt8[Tensor, "b 1 s s"]:
        """The maps of some rows, 255 = boundary, copied into memory.

        Raises:
            IndexError: a row isn't a photo's.
        """
        places = self._map_index[rows.cpu()]
        if (places < 0).any():
            raise IndexError(f"row {int(rows.cpu()[places < 0][0])} is no photo")
        return torch.from_numpy(np.ascontiguousarray(self._maps[places.numpy()]))[:, None]


def prepare_edges(
    manifest: Manifest, pack: Pack, rows: PhotoRows | None = None, *, lines: bool = False, device: str = "cpu"
) -> EdgeMaps:
    """HED's maps of photos of a pack, computed now or taken from the cache.

    In bfloat16 where the device has it: half as fast again on a processor, and no grey level moves by more than
    a few of 255.

    Args:
        manifest: the images.
        pack: their pixels.
        rows: of the photos that are wanted, all by default; where those of all are in the cache, they are taken.
        lines: keep the ridges of the edges alone, each as strong as its edge, of photos `EDGE_LINES_SIDE` pixels wide
            whatever the pack's size: at a small size an edge is a blur of half the picture's detail.
        device: where to compute.

    Raises:
        EncoderError: the package with HED's weights isn't installed.
    """
    photos = manifest.find_rows(domain=Domain.PHOTO)
    for wanted in (photos, photos if rows is None else rows):
        of = pack_key(manifest.select_rows(wanted), EDGE_LINES_SIDE, pack.fit) if lines else pack.key
        key = sha256_of(
            "hed lines" if lines else "hed",
            EDGE_MAPS_VERSION,
            of,
            manifest.domain.tobytes(),
            wanted.tobytes(),
        )
        folder = cache_dir() / "edges" / key[:32]
        maps = _open_edge_maps(folder, key)
        if maps is not None:
            return maps
    with hold_file_lock(folder):
        return _open_edge_maps(folder, key) or _create_edge_maps(
            manifest, pack, wanted, folder, key, lines, device
        )


def _open_edge_maps(folder: Path, key: str) -> EdgeMaps | None:
    try:
        maps = EdgeMaps(folder)
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError):
        return None
    return maps if maps.key == key else None


def _create_edge_maps(
    manifest: Manifest,
    pack: Pack,
    rows: PhotoRows,
    folder: Path,
    key: str,
    lines: bool,
    device: str,
) -> EdgeMaps:
    place = np.full(len(manifest), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    side = EDGE_LINES_SIDE if lines else pack.size
    with resumable_folder(folder) as draft:
        np.save(draft / "place.npy", place)
        with resumable_array(draft / "maps.npy", (len(rows), side, side), EDGE_BATCH_SIZE) as (file, done):
            left = rows[done:]
            photos = (
                _iter_full_size_photos(manifest, left, pack.fit) if lines else _iter_pack_photos(pack, left)
            )
            with show_progress(len(left), f"edges of {manifest.name}") as bar:
                for maps in _detect_edges(photos, lines, device):
                    file.write(maps.data)
                    bar.advance(len(maps))
        (draft / "edges.json").write_text(
            json.dumps({"key": key, "detector": "hed", "lines": lines}), "utf-8"
        )
    return EdgeMaps(folder)


def _iter_pack_photos(pack: Pack, rows: PhotoRows) -> Iterator[Tensor]:
    return (
        pack.read_images(rows[start : start + EDGE_BATCH_SIZE])
        for start in range(0, len(rows), EDGE_BATCH_SIZE)
    )


def _iter_full_size_photos(manifest: Manifest, rows: PhotoRows, fit: str) -> Iterator[Tensor]:
    for images, _ in iter_decoded_chunks(manifest.select_rows(rows), EDGE_LINES_SIDE, fit):
        yield from torch.from_numpy(images).permute(0, 3, 1, 2).split(EDGE_BATCH_SIZE)


@torch.no_grad()
def _detect_edges(photos: Iterable[Tensor], lines: bool, device: str) -> Iterator[npt.NDArray[np.uint8]]:
    detector = load_hed().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    half = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=has_bf16(device))
    for pixels in photos:
        with half:
            edges = detector(pixels.to(device).float() / 255).float()
        if lines:
            edges = _normalize_edge_strength(edges)
            edges = edges * edge_ridges(edges)
        yield (edges * 255).round().to(torch.uint8).cpu().numpy()


def _normalize_edge_strength(edges: EdgeMapBatch) -> EdgeMapBatch:
    strongest = edges.flatten(1).quantile(0.99, dim=1).clamp(min=0.05)
    return (edges / strongest[:, None, None, None]).clamp(max=1)


def edge_bands(edges: EdgeMapBatch) -> EdgeMapBatch:
    """The ink of edge maps, 0..1: each edge as broad as HED found it, cut at a random share of the strongest.

    Args:
        edges: 1 = boundary.
    """
    draw = torch.empty(2, len(edges), 1, 1, 1, device=edges.device)
    threshold, hardness = draw[0].uniform_(0.2, 0.6), draw[1].uniform_(6, 20)
    return torch.sigmoid(hardness * (_normalize_edge_strength(edges) - threshold))


def pen_lines(edges: EdgeMapBatch) -> EdgeMapBatch:
    """The ink of ridges, 0 or 1, drawn with a pen: from a random strength on, with a random width.

    Args:
        edges: ridges, each as strong as its edge (`prepare_edges(…, lines=True)`).
    """
    draw = torch.rand(2, len(edges), 1, 1, 1, device=edges.device)
    ink = (edges > 0.2 + 0.35 * draw[0]).float()
    thin = F.max_pool2d(ink, 3, stride=1, padding=1)
    return torch.where(draw[1] < 0.7, thin, F.max_pool2d(thin, 3, stride=1, padding=1))


def edge_ridges(edges: EdgeMapBatch) -> EdgeMapBatch:
    """1 where an edge map is highest across its edge, else 0: lines one or two pixels wide.

    Across an edge is where the (smoothed) map curves down most: the eigenvector of its second derivatives with the
    smaller eigenvalue. A pixel is kept that is no lower than the points at distance 1 on either side of it, where
    the map really bends: the flank of a round edge also curves down, but along the edge and faintly.
    """
    height = gaussian_blur2d(edges, (5, 5), (1.0, 1.0))
    xx, xy, yy = spatial_gradient(height, order=2).unbind(2)
    angle = (torch.atan2(2 * xy, xx - yy) + torch.pi) / 2
    side = edges.shape[-1]
    across = torch.stack([angle.cos(), angle.sin()], -1)[:, 0] * 2 / side
    still = torch.eye(2, 3, device=edges.device).expand(len(edges), 2, 3)
    grid = F.affine_grid(still, list(edges.shape), align_corners=False)
    beside = [
        F.grid_sample(height, grid + step, padding_mode="border", align_corners=False)
        for step in (across, -across)
    ]
    curved_down = xx + yy - ((xx - yy).square() + 4 * xy.square()).sqrt() < -0.02
    return ((height >= beside[0]) & (height >= beside[1]) & curved_down).float()
