"""`semantics`: what a source makes of names, how alike they are to it, and how they hang together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_sbir.cli._app import app, emit, out, say
from ssl_sbir.cli.data import data_app

if TYPE_CHECKING:
    from ssl_sbir.semantics import Semantics

Source = Annotated[
    str | None,
    typer.Argument(help="Such as wordnet, conceptnet:FILE, vectors:FILE, glove; lists all without."),
]
A = Annotated[str, typer.Option("--a", help="Names, with commas between.")]
B = Annotated[
    str,
    typer.Option(
        "--b", help="Names to compare them with: --a's own by default; imagenet for its 1,000 classes."
    ),
]
Nearest = Annotated[int, typer.Option(min=1, help="How many of the nearest names to list.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command()
def semantics(
    source: Source = None, a: A = "", b: B = "", nearest: Nearest = 5, as_json: AsJson = False
) -> None:
    """How alike names are to WordNet, ConceptNet, word vectors or a sentence encoder, and why."""
    from ssl_sbir.errors import ConfigError
    from ssl_sbir.semantics import KINDS, imagenet_names, load_semantics

    if source is None:
        kinds = [{"kind": kind, "what": what, "where": where} for kind, (what, where) in KINDS.items()]
        if as_json:
            emit(kinds)
            return
        for kind, (what, where) in KINDS.items():
            out.print(f"{kind}{':' if where else ''}{where:<12}  {what}", markup=False)
        return
    rows = _listed(a)
    if not rows:
        raise ConfigError("--a is empty: there is no name to compare", "Give names: --a cow,horse.")
    columns = list(imagenet_names()) if b == "imagenet" else _listed(b) or rows
    facts = _facts(load_semantics(source), source, rows, columns, nearest)
    if as_json:
        emit(facts)
    else:
        _show(facts)


@data_app.command("conceptnet")
def convert_conceptnet(
    dump: Annotated[str, typer.Argument(help="conceptnet-assertions-5.*.csv, also .gz, or triples.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: NAME.safetensors.")],
    as_json: AsJson = False,
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
        emit(facts)
        return
    out.print(f"{facts['lines']:,} lines · {facts['concepts']:,} concepts · {facts['edges']:,} relations")
    out.print(f"{target}   {facts['bytes'] / 1e6:,.1f} MB", markup=False)
    say(f"use it: --set semantics=conceptnet:{target}")


def _facts(source: "Semantics", spec: str, rows: list[str], columns: list[str], count: int) -> dict[str, Any]:
    resolved = source.resolved([*rows, *columns])
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
                **_way(source, row, columns[place]),
            }
            for place in others
        ]
    told = {name: str(meaning) if meaning else None for name, meaning in resolved.items() if name in rows}
    used = {pair["b"]: resolved[pair["b"]] for pair in pairs}
    told |= {name: str(meaning) if meaning else None for name, meaning in used.items()}
    return {"semantics": spec, "resolved": told, "pairs": pairs}


def _way(source: "Semantics", a: str, b: str) -> dict[str, Any]:
    """The path of a pair where the source has paths and knows both names; None with no relations: there is none."""
    from ssl_sbir.errors import SslSbirError

    try:
        path = source.path(a, b)
    except SslSbirError:
        return {"path": None}
    if path is None:
        return {"path": None, "relations": [], "weights": []}
    return {"path": path.in_words(), "relations": list(path.relations), "weights": path.weights}


def _show(facts: dict[str, Any]) -> None:
    for name, meaning in facts["resolved"].items():
        if meaning != name:
            out.print(f"{name} → {meaning or 'unknown'}", markup=False, style="dim" if meaning else "yellow")
    for pair in facts["pairs"]:
        line = f"{pair['similarity']:.3f}  {pair['a']} · {pair['b']}"
        way = pair["path"] or ("no path" if "relations" in pair else "")
        out.print(f"{line}   {way}" if way else line, markup=False)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
