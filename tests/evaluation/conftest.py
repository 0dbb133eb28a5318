import numpy as np
import pytest
from PIL import Image
from torch.nn import functional as F

from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder, Preprocess
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder

SEEN, UNSEEN = ("bar", "circle", "cross"), ("ring", "square", "triangle")


class Shrunk(Encoder):
    """Sees the picture in 8 × 8 pixels, each channel."""

    def __init__(self):
        super().__init__({"kind": "shrunk"}, Preprocess(32), 192)

    def feature_map(self, image, domain):
        return F.adaptive_avg_pool2d(self.normalize_image(image), 8).flatten(1)[:, :, None, None] + 0.1


@pytest.fixture(scope="session")
def eyes():
    return Shrunk().eval()


@pytest.fixture(scope="session")
def unlike(shapes, tmp_path_factory):
    """The drawn shapes with a dot of its own on each, so that no two are the same by chance."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("unlike")
    for file in sorted(shapes.rglob("*.png")):
        pixels = np.array(Image.open(file).convert("RGB"))
        pixels[tuple(random.integers(0, 40, 2))] = random.integers(0, 250, 3)
        place = folder / file.relative_to(shapes)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    return folder


@pytest.fixture
def drawings(unlike):
    return open_data(f"folder:{unlike}")


@pytest.fixture
def split():
    return Split("shapes", SEEN, UNSEEN)


@pytest.fixture
def evaluated(eyes, drawings, split):
    """The evaluation of a small encoder on drawn shapes."""
    return evaluate_encoder(eyes, drawings, split, draws=100)


@pytest.fixture
def features():
    """Query, labels, gallery, labels: five classes around five directions, with noise."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((5, 24))
    ql, gl = random.integers(0, 5, 90), random.integers(0, 5, 260)
    query = centres[ql] + 1.5 * random.standard_normal((90, 24))
    gallery = centres[gl] + 1.5 * random.standard_normal((260, 24))
    return query.astype(np.float32), ql, gallery.astype(np.float32), gl
