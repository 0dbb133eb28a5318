"""Measures how the code is built and named, and checks what every change must keep.

    python scripts/check_structure.py             # part of: make lint
    python scripts/check_structure.py --root OTHER_CHECKOUT --measure

Exit code 1 where files import in a circle or upwards, where a name is defined in more than two files, or where a
function is called by a bare participle.
"""

import argparse
import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
FOLDERS = ("ssl_sbir", "explain", "recipes", "reports", "scripts")
OUTSIDE = ("explain", "recipes", "reports")  # imported as ssl_sbir.explain and so on

# From the ground up: a room imports from its own level or from lower ones, never from a higher one.
ROOM_LEVELS: tuple[tuple[str, ...], ...] = (
    ("lazy", "errors", "memory"),
    ("files", "registry", "seeding", "progress", "precision", "group_means"),
    ("config", "devices", "renamed_settings", "reports"),
    ("data", "data.readers"),
    ("augment",),
    ("encoders", "semantics"),
    ("ranking", "edges", "fusion"),
    ("run",),
    ("objectives", "gallery"),
    ("explain.attribution",),
    ("explain.faithfulness", "explain.text"),
    ("explain.pair",),
    ("explain.report",),
    ("explain.run", "explain"),
    ("evaluation.metrics",),
    ("evaluation.audits",),
    ("evaluation.report",),
    ("model_card",),
    ("evaluation",),
    ("search",),
    ("training",),
    ("recipes", "recipes.pretraining", "recipes.finetuning"),
    ("studies", "quickstart", "diagnostics"),
    ("cli",),
    ("__main__",),
)

MAX_DEFINITIONS = 2  # files that may define one name at module level
IRREGULAR_PARTICIPLES = {
    *(
        "told",
        "drawn",
        "kept",
        "found",
        "given",
        "made",
        "held",
        "taught",
        "seen",
        "known",
        "taken",
        "left",
        "lost",
    ),
    *("sent", "shown", "written", "built", "chosen", "said", "met", "meant", "done", "gone", "thrown", "won"),
}
# Functions that look like a participle and may, and why.
ALLOWED_NAMES: Mapping[str, str] = {
    "embed": "a verb, the field's own",
}
# Names that every program of scripts/ has, and what Python gives a meaning.
SHARED_NAMES = frozenset({"main", "__all__", "__getattr__", "__dir__", "__version__"})


class Tree:
    """The Python files of a checkout, parsed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        files = [file for folder in FOLDERS for file in sorted((root / folder).rglob("*.py"))]
        self.parsed = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method, nested ones too."""
        nodes = (node for tree in self.parsed.values() for node in ast.walk(tree))
        return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    @cached_property
    def modules(self) -> dict[str, Path]:
        """The files of the package, by dotted name."""
        found = {}
        for file in self.parsed:
            parts = file.relative_to(self.root).with_suffix("").parts
            if parts[0] in OUTSIDE:
                parts = ("ssl_sbir", *parts)
            if parts[0] == "ssl_sbir":
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
        return found

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """The modules that each module imports, at its top, within functions or for the type checker.

        What a package's `__init__` offers lazily counts as the module that defines it.
        """
        packages = {name for name, file in self.modules.items() if file.name == "__init__.py"}
        return {
            name: {target for target in self._targets(file) if target != name and target in self.modules}
            for name, file in self.modules.items()
            if name not in packages
        }

    def _targets(self, file: Path) -> Iterator[str]:
        for node in ast.walk(self.parsed[file]):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ssl_sbir"):
                for alias in node.names:
                    yield self._home(node.module, alias.name)

    def _home(self, module: str, name: str) -> str:
        """The module that defines what `from module import name` gives."""
        if f"{module}.{name}" in self.modules:
            return f"{module}.{name}"
        file = self.modules.get(module)
        if file is None or file.name != "__init__.py":
            return module
        for node in ast.walk(self.parsed[file]):
            if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
                return self._home(str(node.module), name)
        return module


def measure_tree(tree: Tree) -> dict[str, float]:
    """The figures that a change is compared by."""
    lengths = sorted(int(node.end_lineno or 0) - node.lineno + 1 for node in tree.functions)
    one_word = sum("_" not in node.name.strip("_") for node in tree.functions)
    files = Counter(file.name for file in tree.parsed if file.name != "__init__.py")
    return {
        "files": len(tree.parsed),
        "functions": len(lengths),
        "median lines of a function": median(lengths),
        "95th percentile": lengths[int(0.95 * (len(lengths) - 1))],
        "longest": lengths[-1],
        "function names of one word, %": round(100 * one_word / len(lengths), 1),
        "functions and classes defined in several files": len(repeated_names(tree, constants=False)),
        "constants, too": len(repeated_names(tree)),
        "files that share their name": sum(count for count in files.values() if count > 1),
        "circles of files": len(import_circles(tree)),
        "upward arrows": len(upward_arrows(tree)),
    }


def repeated_names(tree: Tree, *, constants: bool = True, more_than: int = 1) -> dict[str, list[Path]]:
    """The names that more than so many files define at module level, with these files."""
    homes: dict[str, set[Path]] = defaultdict(set)
    for file, parsed in tree.parsed.items():
        for name in _module_level_names(parsed, constants):
            homes[name].add(file)
    return {
        name: sorted(files)
        for name, files in sorted(homes.items())
        if len(files) > more_than and name not in SHARED_NAMES
    }


def _module_level_names(tree: ast.Module, constants: bool) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif constants and isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif constants and isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def bare_participles(tree: Tree) -> list[str]:
    """Functions whose whole name is a participle, such as `told`, as "file:line name"."""
    found = []
    for file, parsed in tree.parsed.items():
        for node in ast.walk(parsed):
            if isinstance(node, ast.FunctionDef) and _is_participle(node.name.strip("_")):
                found.append(f"{file.relative_to(tree.root)}:{node.lineno} {node.name}")
    return found


def _is_participle(name: str) -> bool:
    if name in ALLOWED_NAMES or "_" in name:
        return False
    return name in IRREGULAR_PARTICIPLES or name.endswith("ed")


def import_circles(tree: Tree) -> list[list[str]]:
    """Groups of modules each of which reaches every other by imports (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit_module(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for target in sorted(tree.imports.get(name, ())):
            if target not in order:
                visit_module(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in stack:
                lowest[name] = min(lowest[name], order[target])
        if lowest[name] == order[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                circles.append(sorted(stack[at:]))
            del stack[at:]

    for name in tree.imports:
        if name not in order:
            visit_module(name)
    return circles


def room_of(module: str) -> str:
    """The room of a module: the innermost package of `ROOM_LEVELS` that holds it, or a file at the top."""
    parts = module.split(".")[1:]
    rooms = {room for level in ROOM_LEVELS for room in level}
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in rooms:
            return ".".join(parts[:end])
    return parts[0] if parts else ""


def upward_arrows(tree: Tree) -> list[str]:
    """Imports from a room on a higher level, as "module -> module"."""
    level = {room: number for number, rooms in enumerate(ROOM_LEVELS) for room in rooms}
    return [
        f"{name} -> {target}"
        for name, targets in sorted(tree.imports.items())
        for target in sorted(targets)
        if level.get(room_of(target), -1) > level.get(room_of(name), len(level))
    ]


def homeless_rooms(tree: Tree) -> list[str]:
    """Packages and files at the top that `ROOM_LEVELS` leaves out."""
    rooms = {room for level in ROOM_LEVELS for room in level}
    return sorted({room_of(name) for name in tree.modules if name != "ssl_sbir"} - rooms)


def draw_map(tree: Tree) -> str:
    """CONTRIBUTING.md's table of rooms, from the top down, in the words of their docstrings."""
    rooms = [room for level in reversed(ROOM_LEVELS) for room in level if room != "__main__"]
    files = {room: tree.modules[f"ssl_sbir.{room}"] for room in rooms if f"ssl_sbir.{room}" in tree.modules}
    rows = [
        f"| `{_place_of(file, tree.root)}` | {_first_line(tree.parsed[file])} |" for file in files.values()
    ]
    return "\n".join(["| where | what it holds |", "|---|---|", *rows])


def _place_of(file: Path, root: Path) -> str:
    place = file.parent if file.name == "__init__.py" else file
    return place.relative_to(root).as_posix()


def _first_line(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").partition("\n")[0].replace("|", "\\|")


def structure_problems(tree: Tree) -> list[str]:
    """What must be fixed, one line each."""
    repeated = repeated_names(tree, more_than=MAX_DEFINITIONS)
    return [
        *(f"in a circle: {', '.join(circle)}" for circle in import_circles(tree)),
        *(f"imports upwards: {arrow}" for arrow in upward_arrows(tree)),
        *(f"not in ROOM_LEVELS: {room}" for room in homeless_rooms(tree)),
        *(
            f"'{name}' is defined in {len(files)} files: {', '.join(str(f.relative_to(tree.root)) for f in files)}"
            for name, files in repeated.items()
        ),
        *(f"a bare participle: {place}" for place in bare_participles(tree)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures, or the problems."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--measure", action="store_true", help="print the figures and check nothing")
    parser.add_argument("--map", action="store_true", help="print the table of rooms for CONTRIBUTING.md")
    options = parser.parse_args(arguments)
    tree = Tree(options.root)
    if options.map:
        print(draw_map(tree))
        return 0
    if options.measure:
        for name, value in measure_tree(tree).items():
            print(f"{value:>8}  {name}")
        return 0
    problems = structure_problems(tree)
    for problem in problems:
        print(problem, file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
