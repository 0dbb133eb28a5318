"""Edge maps of all photos of a pack, computed once into a memory-mapped file beside it."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from filelock import FileLock
from jaxtyping import Float, UInt8
from kornia.filters import gaussian_blur2d, spatial_gradient
from torch import Tensor, nn

from ssl_sbir.data.loading import Pack, load_batch
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.edges.hed import load_hed
from ssl_sbir.files import atomic_folder, cache_dir, sha256_of
from ssl_sbir.precision import has_bf16
from ssl_sbir.progress import progress

VERSION = "1"


class EdgeMaps:
    """Maps by manifest row.

    Attributes:
        folder: where they lie.
        key: hash of the pack and the detector.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key: str = json.loads((folder / "edges.json").read_text("utf-8"))["key"]
        self._place = torch.from_numpy(np.load(folder / "place.npy", allow_pickle=False))
        self._maps = np.load(folder / "maps.npy", mmap_mode="r", allow_pickle=False)
        if self._maps.dtype != np.uint8 or self._maps.ndim != 3 or int(self._place.max()) >= len(self._maps):
            raise ValueError(f"{folder} holds {self._maps.dtype} {self._maps.shape}")

    def __len__(self) -> int:
        return len(self._maps)

    def batch(self, rows: Tensor) -> UInt8[Tensor, "b 1 s s"]:
        """The maps of some rows, 255 = boundary, copied into memory.

        Raises:
            IndexError: a row isn't a photo's.
        """
        places = self._place[rows.cpu()]
        if (places < 0).any():
            raise IndexError(f"row {int(rows.cpu()[places < 0][0])} is no photo")
        return torch.from_numpy(np.ascontiguousarray(self._maps[places.numpy()]))[:, None]


def prepare_edges(manifest: Manifest, pack: Pack, *, device: str = "cpu") -> EdgeMaps:
    """HED's maps of every photo of a pack, computed now or taken from the cache.

    In bfloat16 where the device has it: half as fast again on a processor, and no grey level moves by more than
    a few of 255.

    Raises:
        EncoderError: the package with HED's weights isn't installed.
    """
    key = sha256_of("hed", VERSION, pack.key, manifest.domain.tobytes())
    folder = cache_dir() / "edges" / key[:32]
    maps = _opened(folder, key)
    if maps is not None:
        return maps
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        return _opened(folder, key) or _made(manifest, pack, folder, key, device)


def _opened(folder: Path, key: str) -> EdgeMaps | None:
    try:
        maps = EdgeMaps(folder)
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError):
        return None
    return maps if maps.key == key else None


def _made(manifest: Manifest, pack: Pack, folder: Path, key: str, device: str) -> EdgeMaps:
    detector = load_hed().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = manifest.rows(domain=Domain.PHOTO)
    place = np.full(len(manifest), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    with atomic_folder(folder) as draft:
        np.save(draft / "place.npy", place)
        _write_maps(draft / "maps.npy", detector, manifest, pack, rows, device)
        (draft / "edges.json").write_text(json.dumps({"key": key, "detector": "hed"}), "utf-8")
    return EdgeMaps(folder)


@torch.no_grad()
def _write_maps(
    file: Path, detector: nn.Module, manifest: Manifest, pack: Pack, rows: npt.NDArray[np.int64], device: str
) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), pack.size, pack.size)}
    half = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=has_bf16(device))
    with open(file, "wb") as out, progress(len(rows), f"edges of {manifest.name}") as bar, half:
        np.lib.format.write_array_header_1_0(out, header)
        for start in range(0, len(rows), 16):
            photos = load_batch(pack, manifest, rows[start : start + 16]).to(device).image
            out.write((detector(photos).float() * 255).round().to(torch.uint8).cpu().numpy().data)
            bar.advance(len(photos))


def drawn(edges: Float[Tensor, "b 1 s s"], *, lines: bool = False) -> Float[Tensor, "b 3 s s"]:
    """Pseudo-sketches [b, 3, s, s] in 0..1, dark on white, of edge maps in 0..1.

    Each map is cut at a random share of its strongest edge, so that the amount of ink varies.

    Args:
        edges: 1 = boundary.
        lines: draw the ridges of the map, as thin as a pen's lines, in place of its edges, which are bands several
            pixels wide.
    """
    draw = torch.empty(2, len(edges), 1, 1, 1, device=edges.device)
    threshold, hardness = draw[0].uniform_(0.2, 0.6), draw[1].uniform_(6, 20)
    edges = edges / edges.flatten(1).quantile(0.99, dim=1).clamp(min=0.05)[:, None, None, None]
    if lines:
        ridge = torch.where(edges > threshold, ridges(edges), 0.0)
        ink = gaussian_blur2d(ridge, (3, 3), (0.6, 0.6)).mul(1.6).clamp(0, 1)
    else:
        ink = torch.sigmoid(hardness * (edges - threshold))
    return (1 - ink).expand(-1, 3, -1, -1).contiguous()


def ridges(edges: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "b 1 s s"]:
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
