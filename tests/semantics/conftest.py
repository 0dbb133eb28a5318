import os
from pathlib import Path

import pytest

from ssl_sbir.semantics.wordnet import WORDNET_FOLDERS, load_nouns


@pytest.fixture(scope="session")
def nouns():
    """WordNet's nouns; skips where WordNet isn't installed."""
    if not any((Path(folder) / "data.noun").is_file() for folder in WORDNET_FOLDERS):
        pytest.skip("WordNet is not installed (Debian: apt install wordnet-base)")
    return load_nouns(None)


@pytest.fixture(scope="session")
def shared():
    """The folder of benchmark data; skips where `SSL_SBIR_DATA` doesn't name it."""
    if not os.environ.get("SSL_SBIR_DATA"):
        pytest.skip("SSL_SBIR_DATA is not set")
    return Path(os.environ["SSL_SBIR_DATA"])
