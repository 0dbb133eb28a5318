"""`semantics`: how a source resolves names, their similarities and paths; and converting sources of semantics."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.cli.data import data_app
from ssl_sbir.cli.options import JsonOption, split_comma_list

if TYPE_CHECKING:
    from ssl_sbir.semantics import Semantics

SemanticsSourceArgument = Annotated[
    str | None,
    typer.Argument(
        help="Such as wordnet, conceptnet:FILE, vectors:FILE, glove; without it, lists all kinds."
    ),
]
FirstNamesOption = Annotated[str, typer.Option("--a", help="Names, separated by commas.")]
SecondNamesOption = Annotated[
    str,
    typer.Option(
        "--b", help="Names to compare them with; default: those of --a; imagenet: its 1,000 classes."
    ),
]
NearestNamesOption = Annotated[int, typer.Option(min=1, help="Number of most similar names to list.")]


@app.command("semantics")
def semantics_command(
    source: SemanticsSourceArgument = None,
    a: FirstNamesOption = "",
    b: SecondNamesOption = "",
    nearest: NearestNamesOption = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare names by WordNet, ConceptNet, word vectors or a sentence encoder, and show their paths."""
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
    rows = split_comma_list(a)
    if not rows:
        raise ConfigError("--a has no names to compare", "Give names: --a cow,horse.")
    columns = list(imagenet_names()) if b == "imagenet" else split_comma_list(b) or rows
    facts = _similarity_facts(load_semantics(source), source, rows, columns, nearest)
    if as_json:
        print_json(facts)
    else:
        _print_similarities(facts)


@data_app.command("conceptnet")
def convert_conceptnet(
    dump: Annotated[str, typer.Argument(help="conceptnet-assertions-5.*.csv or .csv.gz, or triples.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: NAME.safetensors.")],
    as_json: JsonOption = False,
) -> None:
    """Convert ConceptNet's dump into a compact file of its English concepts, relations and weights."""
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


@data_app.command("wordnet")
def convert_wordnet(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="WordNet-3.0.tar.gz or .tar.bz2.")],
    as_json: JsonOption = False,
) -> None:
    """Copy the nouns of WordNet's official archive into the cache, where `wordnet` finds them."""
    from ssl_sbir.semantics.wordnet_archive import convert_wordnet_archive
    from ssl_sbir.semantics.wordnet_files import converted_wordnet_folder

    nouns = convert_wordnet_archive(archive)
    facts = {
        "synsets": len(nouns.offsets),
        "lemmas": len(nouns.senses),
        "folder": str(converted_wordnet_folder()),
    }
    if as_json:
        print_json(facts)
        return
    stdout_console.print(f"{facts['synsets']:,} synsets · {facts['lemmas']:,} nouns")
    stdout_console.print(str(facts["folder"]), markup=False)
    print_message("use it: --set semantics=wordnet")


def _similarity_facts(
    source: "Semantics", spec: str, rows: list[str], columns: list[str], count: int
) -> dict[str, Any]:
    resolved = source.resolve_names([*rows, *columns])
    table = source.similarity(rows, columns)
    pairs = []
    for row, values in zip(rows, table, strict=True):
        order = values.argsort(descending=True, stable=True).tolist()
        others = [index for index in order if columns[index] != row][:count]
        pairs += [
            {
                "a": row,
                "b": columns[index],
                "similarity": values[index].item(),
                **_path_facts(source, row, columns[index]),
            }
            for index in others
        ]
    shown = [*(name for name in resolved if name in rows), *(pair["b"] for pair in pairs)]
    meanings = {name: str(resolved[name]) if resolved[name] else None for name in shown}
    return {"semantics": spec, "resolved": meanings, "pairs": pairs}


def _path_facts(source: "Semantics", a: str, b: str) -> dict[str, Any]:
    """The path of a pair; None without relations if the source has no paths, or doesn't know both names."""
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
        path = pair["path"] or ("no path" if "relations" in pair else "")
        stdout_console.print(f"{line}   {path}" if path else line, markup=False)
