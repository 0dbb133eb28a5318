"""WordNet's nouns: similarity by the shortest way over a common ancestor, SAKE's rule, and paths in words.

`data.noun` and `index.noun` of a WordNet 3.0 `dict` folder (Debian: wordnet-base) are read; ImageNet's ids are places
in that release's file.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.errors import DataError

WORDNET_FOLDERS = (
    "/usr/share/wordnet",
    "/usr/local/WordNet-3.0/dict",
    "/usr/share/nltk_data/corpora/wordnet",
)
# The first ImageNet class: in another release something else, or nothing, stands at that place.
_TENCH = (1440764, "tench")
AncestorDepths = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


class WordNetNouns:
    """The synsets of nouns, numbered in the order of the file.

    Attributes:
        offsets: [n] byte offset of each, which is the number of its id ("n01440764").
        words: the lemmas of each, the first one first.
        parents: the hypernyms of each, instances' kinds among them.
        senses: for each lemma its synsets, the most frequent sense first.
    """

    def __init__(
        self,
        offsets: list[int],
        words: list[tuple[str, ...]],
        parents: list[tuple[int, ...]],
        senses: dict[str, tuple[int, ...]],
    ) -> None:
        self.offsets, self.words, self.parents, self.senses = offsets, words, parents, senses
        self._depths: dict[int, AncestorDepths] = {}

    @cached_property
    def index_by_offset(self) -> dict[int, int]:
        """Offset → number of the synset."""
        return {offset: number for number, offset in enumerate(self.offsets)}

    def find_synset(self, synset: str) -> int | None:
        """The number of the synset with an id such as "n01440764"; None where there is none."""
        return self.index_by_offset.get(int(synset[1:9]))

    def describe_synset(self, number: int) -> str:
        """The id and first lemma of a synset: "n01440764 tench"."""
        return f"n{self.offsets[number]:08} {self.words[number][0]}"

    def ancestor_depths(self, number: int) -> AncestorDepths:
        """A synset and everything above it, and the least number of steps to each, [k] and [k]."""
        if number not in self._depths:
            found, edge, step = {number: 0}, [number], 0
            while edge:
                step += 1
                edge = [up for one in edge for up in self.parents[one] if up not in found]
                found.update(dict.fromkeys(edge, step))
            self._depths[number] = np.fromiter(found, np.int64), np.fromiter(found.values(), np.int64)
        return self._depths[number]

    def path_distances(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """Steps from each synset up to a common ancestor and down to each other one, the fewest; inf without one.

        Args:
            rows: r synsets.
            columns: c synsets.

        Returns:
            [r, c].
        """
        ways = [self.ancestor_depths(column) for column in columns]
        above, steps = np.concatenate([way[0] for way in ways]), np.concatenate([way[1] for way in ways])
        starts = np.cumsum([0, *(len(way[0]) for way in ways[:-1])])
        found = np.empty((len(rows), len(columns)))
        up = np.full(len(self.offsets), np.inf)
        for place, row in enumerate(rows):
            mine, depth = self.ancestor_depths(row)
            up[mine] = depth
            found[place] = np.minimum.reduceat(up[above] + steps, starts)
            up[mine] = np.inf
        return found

    def path_similarity(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """1 / (1 + distance), [r, c]: WordNet's path similarity, over the lowest common ancestor."""
        return 1 / (1 + self.path_distances(rows, columns))

    def hyponym_mask(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Where one synset is the other or a kind of it, either way round, [r, c]."""
        above = [set(self.ancestor_depths(column)[0].tolist()) for column in columns]
        mine = [set(self.ancestor_depths(row)[0].tolist()) for row in rows]
        return np.array(
            [[row in up or column in own for column, up in zip(columns, above, strict=True)]
             for row, own in zip(rows, mine, strict=True)]
        )  # fmt: skip

    def sake_similarity(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """SAKE's similarity of synsets, [r, c]: 1 within, else the path similarity if above .2, else 0."""
        path = self.path_similarity(rows, columns)
        return np.where(self.hyponym_mask(rows, columns), 1.0, np.where(path > 0.2, path, 0.0))

    def hypernym_path(self, a: int, b: int) -> tuple[list[int], list[int]]:
        """The synsets from `a` up to the nearest common ancestor, and on from below it down to `b`."""
        mine, theirs = (
            dict(zip(*(side.tolist() for side in self.ancestor_depths(end)), strict=True)) for end in (a, b)
        )
        common = min(mine.keys() & theirs.keys(), key=lambda node: (mine[node] + theirs[node], node))
        up, down = ([common] for _ in range(2))
        for way, steps in ((up, mine), (down, theirs)):
            while steps[way[-1]]:
                way.append(self._next_descendant(way[-1], steps))
        return up[::-1], down[1:]

    def _next_descendant(self, node: int, steps: dict[int, int]) -> int:
        """The first synset, among those a step nearer to the start, that has `node` as a parent."""
        return min(
            one for one, step in steps.items() if step == steps[node] - 1 and node in self.parents[one]
        )

    def to_networkx(self) -> Any:
        """The graph of hypernyms as a networkx.DiGraph of ids, from each synset to what it is a kind of."""
        import networkx as nx

        names = [self.describe_synset(number).split()[0] for number in range(len(self.offsets))]
        graph: Any = nx.DiGraph()
        graph.add_nodes_from(names)
        graph.add_edges_from((names[n], names[up]) for n, ups in enumerate(self.parents) for up in ups)
        return graph


def find_wordnet_folder(*folders: str) -> Path | None:
    """The first of some folders that holds WordNet's nouns."""
    return next((Path(place) for place in folders if (Path(place) / "data.noun").is_file()), None)


def load_nouns(folder: str | None) -> WordNetNouns:
    """The nouns of a WordNet folder, by default of the one that is installed; read once a process.

    Raises:
        DataError: there is none, it is broken, or of another release than 3.0.
    """
    places = (folder,) if folder else WORDNET_FOLDERS
    found = find_wordnet_folder(*places)
    if found is None:
        hint = "Debian and Ubuntu: apt install wordnet-base. Elsewhere: wordnet:FOLDER of WordNet 3.0's dict."
        raise DataError(f"no WordNet: there is no data.noun in {', '.join(map(str, places))}", hint)
    return _read_nouns(found)


@lru_cache(maxsize=2)
def _read_nouns(folder: Path) -> WordNetNouns:
    offsets: list[int] = []
    words: list[tuple[str, ...]] = []
    above: list[tuple[int, ...]] = []
    with open(folder / "data.noun", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith(" "):
                continue
            try:
                offset, lemmas, ups = _parse_synset(line)
            except (ValueError, IndexError) as error:
                raise DataError(
                    f"{folder}/data.noun, line {number}: not a synset", "Install WordNet anew."
                ) from error
            offsets.append(offset)
            words.append(lemmas)
            above.append(ups)
    place = {offset: number for number, offset in enumerate(offsets)}
    _check_wordnet_release(folder, place, words)
    try:
        parents = [tuple(place[up] for up in ups) for ups in above]
    except KeyError as error:
        raise DataError(
            f"{folder}/data.noun breaks off: synset {error} is missing", "Install WordNet anew."
        ) from error
    return WordNetNouns(offsets, words, parents, _read_senses(folder, place, words))


def _parse_synset(line: str) -> tuple[int, tuple[str, ...], tuple[int, ...]]:
    fields = line.split(" | ", 1)[0].split()
    count = int(fields[3], 16)
    at = 4 + 2 * count
    pointers = range(at + 1, at + 1 + 4 * int(fields[at]), 4)
    ups = tuple(int(fields[p + 1]) for p in pointers if fields[p] in ("@", "@i"))
    return int(fields[0]), tuple(fields[4:at:2]), ups


def _check_wordnet_release(folder: Path, place: dict[int, int], words: list[tuple[str, ...]]) -> None:
    offset, lemma = _TENCH
    if offset not in place or lemma not in words[place[offset]]:
        raise DataError(
            f"{folder}/data.noun is not WordNet 3.0's: n{offset:08} isn't '{lemma}'",
            "ImageNet's ids are places in WordNet 3.0's file; name its dict folder.",
        )


def _read_senses(
    folder: Path, place: dict[int, int], words: list[tuple[str, ...]]
) -> dict[str, tuple[int, ...]]:
    """Lemma → synsets, in the order of `index.noun` (by frequency), or of the file where that is missing."""
    found: dict[str, tuple[int, ...]] = {}
    index = folder / "index.noun"
    if not index.is_file():
        for number, lemmas in enumerate(words):
            for lemma in {normalize_class_name(lemma) for lemma in lemmas}:
                found[lemma] = (*found.get(lemma, ()), number)
        return found
    with open(index, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith(" "):
                continue
            try:
                fields = line.split()
                lemma = normalize_class_name(fields[0])
                numbers = [place[int(offset)] for offset in fields[-int(fields[2]) :]]
            except (ValueError, IndexError, KeyError) as error:
                raise DataError(
                    f"{index}, line {number}: not a lemma ({error})", "Install WordNet 3.0's files again."
                ) from error
            found[lemma] = tuple(dict.fromkeys((*found.get(lemma, ()), *numbers)))
    return found
