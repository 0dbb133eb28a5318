"""WordNet 3.0's files `data.noun` and `index.noun`: where they are found, and how they are parsed.

Only release 3.0 will do: ImageNet's ids are byte offsets in its `data.noun`.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.errors import DataError
from ssl_sbir.files import cache_dir
from ssl_sbir.semantics.wordnet import WordNetNouns

WORDNET_FOLDERS = (
    "/usr/share/wordnet",
    "/usr/local/WordNet-3.0/dict",
    "/usr/share/nltk_data/corpora/wordnet",
)
NOUN_DATA_FILE, NOUN_INDEX_FILE = "data.noun", "index.noun"
WORDNET_ARCHIVE_URL = "https://wordnetcode.princeton.edu/3.0/WordNet-3.0.tar.gz"
WORDNET_INSTALL_HINT = (
    "On Debian and Ubuntu: apt install wordnet-base. Elsewhere: ssl-sbir data wordnet FILE, "
    f"with {WORDNET_ARCHIVE_URL}, or wordnet:FOLDER of its dict."
)
# The first ImageNet class: another release has something else, or nothing, at that offset.
_TENCH = (1440764, "tench")
_Synset = tuple[int, tuple[str, ...], tuple[int, ...]]


def converted_wordnet_folder() -> Path:
    """The cache folder that `ssl-sbir data wordnet` fills."""
    return cache_dir() / "wordnet-3.0"


def wordnet_folders() -> tuple[str, ...]:
    """The folders that are searched for WordNet, in order."""
    return str(converted_wordnet_folder()), *WORDNET_FOLDERS


def find_wordnet_folder(*folders: str) -> Path | None:
    """The first of these folders that holds WordNet's nouns."""
    return next((Path(folder) for folder in folders if (Path(folder) / NOUN_DATA_FILE).is_file()), None)


def load_nouns(folder: str | None) -> WordNetNouns:
    """The nouns of a WordNet folder, by default of the one that is installed or converted; read once a process.

    Raises:
        DataError: there is none, it is damaged, or of another release than 3.0.
    """
    folders = (folder,) if folder else wordnet_folders()
    found = find_wordnet_folder(*folders)
    if found is None:
        raise DataError(
            f"WordNet not found: no {NOUN_DATA_FILE} in {', '.join(map(str, folders))}", WORDNET_INSTALL_HINT
        )
    return _read_nouns(found)


@lru_cache(maxsize=2)
def _read_nouns(folder: Path) -> WordNetNouns:
    index = folder / NOUN_INDEX_FILE
    try:
        with open(folder / NOUN_DATA_FILE, encoding="utf-8") as data_lines:
            if not index.is_file():
                return parse_nouns(data_lines, None, f"{folder}/")
            with open(index, encoding="utf-8") as index_lines:
                return parse_nouns(data_lines, index_lines, f"{folder}/")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"WordNet in {folder} can't be read: {error}", _REINSTALL_HINT) from error


def forget_loaded_nouns() -> None:
    """Lets `load_nouns` read a folder again, whose files have changed."""
    _read_nouns.cache_clear()


def parse_nouns(data_lines: Iterable[str], index_lines: Iterable[str] | None, source: str) -> WordNetNouns:
    """The nouns in the lines of both files.

    Args:
        data_lines: of `data.noun`.
        index_lines: of `index.noun`, which orders senses by frequency; without it they are in the order of the data.
        source: precedes the file names in error messages.

    Raises:
        DataError: a line is damaged or missing, or the release isn't 3.0.
    """
    data_name = f"{source}{NOUN_DATA_FILE}"
    offsets, words, hypernyms = _parse_synsets(data_lines, data_name)
    index_by_offset = {offset: index for index, offset in enumerate(offsets)}
    _check_wordnet_release(data_name, index_by_offset, words)
    try:
        parents = [tuple(index_by_offset[offset] for offset in above) for above in hypernyms]
    except KeyError as error:
        raise DataError(f"{data_name} is incomplete: synset {error} is missing", _REINSTALL_HINT) from error
    if index_lines is None:
        senses = _senses_in_file_order(words)
    else:
        senses = _parse_senses(index_lines, f"{source}{NOUN_INDEX_FILE}", index_by_offset)
    return WordNetNouns(offsets, words, parents, senses)


_REINSTALL_HINT = "Install WordNet 3.0 again, or convert its archive again: ssl-sbir data wordnet FILE."


def _parse_synsets(
    lines: Iterable[str], name: str
) -> tuple[list[int], list[tuple[str, ...]], list[tuple[int, ...]]]:
    """Offset, lemmas and offsets of the hypernyms of each synset."""
    synsets: list[_Synset] = []
    for number, line in enumerate(lines, 1):
        if line.startswith(" "):  # the licence
            continue
        try:
            synsets.append(_parse_synset(line))
        except (ValueError, IndexError) as error:
            raise DataError(f"{name}, line {number}: not a synset", _REINSTALL_HINT) from error
    return [one[0] for one in synsets], [one[1] for one in synsets], [one[2] for one in synsets]


def _parse_synset(line: str) -> _Synset:
    fields = line.split(" | ", 1)[0].split()
    count = int(fields[3], 16)
    at = 4 + 2 * count
    pointers = range(at + 1, at + 1 + 4 * int(fields[at]), 4)
    hypernyms = tuple(int(fields[p + 1]) for p in pointers if fields[p] in ("@", "@i"))
    return int(fields[0]), tuple(fields[4:at:2]), hypernyms


def _check_wordnet_release(name: str, index_by_offset: dict[int, int], words: list[tuple[str, ...]]) -> None:
    offset, lemma = _TENCH
    if offset not in index_by_offset or lemma not in words[index_by_offset[offset]]:
        raise DataError(
            f"{name} is not WordNet 3.0's: n{offset:08} isn't '{lemma}'",
            f"ImageNet's ids are offsets in WordNet 3.0's file. {WORDNET_INSTALL_HINT}",
        )


def _senses_in_file_order(words: list[tuple[str, ...]]) -> dict[str, tuple[int, ...]]:
    senses: dict[str, tuple[int, ...]] = {}
    for number, lemmas in enumerate(words):
        for lemma in {normalize_class_name(lemma) for lemma in lemmas}:
            senses[lemma] = (*senses.get(lemma, ()), number)
    return senses


def _parse_senses(
    lines: Iterable[str], name: str, index_by_offset: dict[int, int]
) -> dict[str, tuple[int, ...]]:
    """From lemma to synsets, the most frequent first."""
    senses: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(lines, 1):
        if line.startswith(" "):
            continue
        try:
            fields = line.split()
            lemma = normalize_class_name(fields[0])
            synsets = [index_by_offset[int(offset)] for offset in fields[-int(fields[2]) :]]
        except (ValueError, IndexError, KeyError) as error:
            raise DataError(f"{name}, line {number}: not a lemma ({error})", _REINSTALL_HINT) from error
        senses[lemma] = tuple(dict.fromkeys((*senses.get(lemma, ()), *synsets)))
    return senses
