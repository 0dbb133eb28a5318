"""Whether pixels look like a drawing: blank pages, light lines on dark, photos given as drawings."""

import numpy as np
import numpy.typing as npt

MIN_INK_CONTRAST = 24  # of 255: a smaller difference from the paper is not ink
# Of 313 human sketches, 1 has a larger fraction of pixels that are neither paper nor ink; of 313 photos, 4 in 5 do.
MAX_MIDTONE_FRACTION = 0.2
LIGHT_ON_DARK_WARNING = "The drawing is light on dark; encoders expect dark lines on white paper."
LIKE_PHOTO_WARNING = (
    "The drawing looks like a photo; to find photos similar to a photo, use ssl-sbir search --photo."
)


def blank_tone(pixels: npt.NDArray[np.uint8]) -> str | None:
    """How a page without lines looks, "blank" or "black all over"; None for pixels [h, w, 3] with lines."""
    grey = _grey_levels(pixels)
    if np.ptp(grey) >= MIN_INK_CONTRAST:
        return None
    return "black all over" if grey.mean() < 128 else "blank"


def sketch_warnings(pixels: npt.NDArray[np.uint8]) -> list[str]:
    """What makes a drawing [h, w, 3] doubtful as a query, at most one sentence; see `blank_tone` for empty pages."""
    grey = _grey_levels(pixels)
    if _looks_like_photo(grey):
        return [LIKE_PHOTO_WARNING]
    return [LIGHT_ON_DARK_WARNING] if np.median(grey) < 128 else []


def _grey_levels(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating]:
    return pixels.astype(np.int16).mean(2)


def _looks_like_photo(grey: npt.NDArray[np.floating]) -> bool:
    """Whether too many pixels are neither paper (the most frequent tone) nor dark ink."""
    tones = np.bincount((grey.astype(int) // 16).ravel(), minlength=16)
    paper = int(tones.argmax()) * 16 + 8
    ink = grey.min() if paper > 128 else grey.max()
    return float(((np.abs(grey - paper) > 40) & (np.abs(grey - ink) > 40)).mean()) > MAX_MIDTONE_FRACTION
