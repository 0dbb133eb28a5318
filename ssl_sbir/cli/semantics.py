"""`semantics`: what a source makes of names, how alike they are to it, and how they hang together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.cli.data import data_app

if TYPE_CHECKING:
    from ssl_sbir.semantics import Semantics

SemanticsSourceArgument = Annotated[
    str | None,
    typer.Argument(help="Such as wordnet, conceptnet:FILE, vectors:FILE, glove; lists all without."),
]
FirstNamesOption = Annotated[str, typer.Option("--a", help="Names, with commas between.")]
SecondNamesOption = Annotated[
    str,
    typer.Option(
        "--b", help="Names to compare them with: --a's own by default; imagenet for its 1,000 classes."
    ),
]
NearestNamesOption = Annotated[int, typer.Option(min=1, help="How many of the nearest names to list.")]
SemanticsJsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command("semantics")
def semantics_command(
    source: SemanticsSourceArgument = None,
    a: FirstNamesOption = "",
    b: SecondNamesOption = "",
    nearest: NearestNamesOption = 5,
    as_json: SemanticsJsonOption = False,
) -> None:
    """How alike names are to WordNet, ConceptNet, word vectors or a sentence encoder, and why."""
    from ssl_sbir.errors import ConfigError
    from ssl_sbir.semantics import SEMANTICS_KINDS, imagenet_names, load_semantics

    if source is None:
        kinds = [
            {"kind": kind, "what": what, "where": where} for kind, (what, where) in SEMANTICS_KINDS.items()
        ]
        if as_json:
            print_json(kinds)
            return
        for kind, (what, where) in SEMANTICS_KINDS.items():
            stdout_console.print(f"{kind}{':' if where else ''}{where:<12}  {what}", markup=False)
        return
    rows = _split_names(a)
    if not rows:
        raise ConfigError("--a is empty: there is no name to compare", "Give names: --a cow,horse.")
    columns = list(imagenet_names()) if b == "imagenet" else _split_names(b) or rows
    facts = _similarity_facts(load_semantics(source), source, rows, columns, nearest)
    if as_json:
        print_json(facts)
    else:
        _print_similarities(facts)


@data_app.command("conceptnet")
def convert_conceptnet(
    dump: Annotated[str, typer.Argument(help="conceptnet-assertions-5.*.csv, also .gz, or triples.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: NAME.safetensors.")],
    as_json: SemanticsJsonOption = False,
) -> None:
    """Stream ConceptNet's dump once into a compact file of its English concepts, relations and weights."""
    from ssl_sbir.errors import DataError
    from ssl_sbir.semantics.conceptnet import read_graph, save_graph

    if target.suffix != ".safetensors":
        raise DataError(f"{target} doesn't end in .safetensors", f"Write {target.stem}.safetensors.")
    found = read_graph(dump)
    save_graph(found.graph, target)
    facts = {**found.facts(), "out": str(target), "bytes": target.stat().st_size}
    if as_json:
        print_json(facts)
        return
    stdout_console.print(
        f"{facts['lines']:,} lines · {facts['concepts']:,} concepts · {facts['edges']:,} relations"
    )
    stdout_console.print(f"{target}   {facts['bytes'] / 1e6:,.1f} MB", markup=False)
    print_message(f"use it: --set semantics=conceptnet:{target}")


def _similarity_facts(
    source: "Semantics", spec: str, rows: list[str], columns: list[str], count: int
) -> dict[str, Any]:
    resolved = source.resolve_names([*rows, *columns])
    table = source.similarity(rows, columns)
    pairs = []
    for row, values in zip(rows, table, strict=True):
        order = values.argsort(descending=True, stable=True).tolist()
        others = [place for place in order if columns[place] != row][:count]
        pairs += [
            {
                "a": row,
                "b": columns[place],
                "similarity": values[place].item(),
                **_path_facts(source, row, columns[place]),
            }
            for place in others
        ]
    told = {name: str(meaning) if meaning else None for name, meaning in resolved.items() if name in rows}
    used = {pair["b"]: resolved[pair["b"]] for pair in pairs}
    told |= {name: str(meaning) if meaning else None for name, meaning in used.items()}
    return {"semantics": spec, "resolved": told, "pairs": pairs}


def _path_facts(source: "Semantics", a: str, b: str) -> dict[str, Any]:
    """The path of a pair where the source has paths and knows both names; None with no relations: there is none."""
    from ssl_sbir.errors import SslSbirError

    try:
        path = source.path(a, b)
    except SslSbirError:
        return {"path": None}
    if path is None:
        return {"path": None, "relations": [], "weights": []}
    return {"path": path.in_words(), "relations": list(path.relations), "weights": path.weights}


def _print_similarities(facts: dict[str, Any]) -> None:
    for name, meaning in facts["resolved"].items():
        if meaning != name:
            stdout_console.print(
                f"{name} → {meaning or 'unknown'}", markup=False, style="dim" if meaning else "yellow"
            )
    for pair in facts["pairs"]:
        line = f"{pair['similarity']:.3f}  {pair['a']} · {pair['b']}"
        way = pair["path"] or ("no path" if "relations" in pair else "")
        stdout_console.print(f"{line}   {way}" if way else line, markup=False)


def _split_names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
