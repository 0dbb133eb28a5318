import pytest
from optional_parts import needs_data_folder, needs_wordnet

from ssl_sbir.semantics.wordnet_files import load_nouns


@pytest.fixture(scope="session")
def nouns():
    """WordNet's nouns; skips where WordNet isn't installed."""
    return load_nouns(str(needs_wordnet()))


@pytest.fixture(scope="session")
def shared():
    """The folder of benchmark data; skips where `SSL_SBIR_DATA` doesn't name it."""
    return needs_data_folder()
