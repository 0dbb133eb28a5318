import pytest
import torch
from encoders_for_tests import SIDE, Mapless, Spots, cell
from texts_for_tests import Painted, painted_tower

from ssl_sbir.data.readers import open_data


@pytest.fixture
def spots():
    return Spots().eval()


@pytest.fixture
def mapless():
    return Mapless().eval()


@pytest.fixture
def sketch():
    """White paper with ink in row 0, column 1 of 4."""
    return cell(torch.ones(3, SIDE, SIDE), 0, 1, (0.0, 0.0, 0.0))


@pytest.fixture
def photos():
    """Grey with a red spot in row 3, column 2; and another in row 1, column 0."""
    grey = torch.full((2, 3, SIDE, SIDE), 0.5)
    cell(grey[0], 3, 2, (1.0, 0.0, 0.0))
    cell(grey[1], 1, 0, (1.0, 0.0, 0.0))
    return grey


@pytest.fixture
def painted():
    """An encoder with a classifier of named colours."""
    return Painted().eval()


@pytest.fixture
def tower(painted, tmp_path):
    """Its text side."""
    return painted_tower(tmp_path, painted)


@pytest.fixture
def manifest(shapes):
    """Drawings and photos of six shapes."""
    return open_data(f"folder:{shapes}")
