"""A run's model card: origin, data, results, limits and licence, filled from its provenance."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_sbir.encoders import Encoder, encoder_table
from ssl_sbir.files import write_atomic
from ssl_sbir.run import RunFolder, read_run_json

CARD_TEMPLATE = """# {recipe} ({stage})

An encoder for sketch-based image retrieval: it maps sketches and photos to vectors that are compared by cosine.

- recipe: {recipe}, seed {seed}
- started from: {start}
- data: {data}, manifest sha256 {manifest_sha256}
- images: {photos:,} photos, {sketches:,} sketches
- labels: {labels}
- split: {split}
- input: {size} px, RGB in 0..1 (normalisation is built in); output: {width} numbers
- made by: ssl-sbir {version}

Load it: `ssl_sbir.RunFolder.open("{path}").encoder()`

## Results

{results}

## Intended use

Finding photos by sketch, among photos like those it was trained on. Not meant for decisions about people.

## Limits

{limits}

## Licence

{licence}
"""
CARD_TABLE_HEADER = (
    "| split | protocol | mAP@all | 95 % interval | chance | before training | queries → gallery |\n"
    + "|---" * 7
    + "|"
)


def write_card(run: RunFolder, encoder: Encoder) -> None:
    """Writes `model/README.md` from the run's provenance and from the evaluations in its folder."""
    facts = run.provenance
    evaluations = [read_run_json(path) for path in sorted(run.path.glob("evaluate/*/results.json"))]
    text = CARD_TEMPLATE.format(
        recipe=facts["recipe"],
        stage=facts["stage"],
        seed=facts["seed"],
        start=facts["from"] or _describe_start_weights(facts["start"]),
        data=facts["data"],
        manifest_sha256=facts["manifest_sha256"],
        photos=facts["images"]["photo"],
        sketches=facts["images"]["sketch"],
        labels=_describe_labels_used(facts),
        split=_describe_card_split(facts["split"]),
        size=encoder.preprocess.size,
        width=encoder.width,
        version=facts["versions"]["ssl-sbir"],
        path=run.path,
        results=_format_card_results(evaluations, run.path),
        limits="\n".join(f"- {line}" for line in _card_limits(facts, evaluations, encoder.preprocess.size)),
        licence=_card_licence(facts, run.config),
    )
    write_atomic(run.path / "model" / "README.md", text)


def _describe_start_weights(start: Mapping[str, Any]) -> str:
    return f"{start['name']}, {'published' if start['pretrained'] else 'random'} weights"


def _describe_labels_used(facts: Mapping[str, Any]) -> str:
    used = facts.get("labels")
    if not used:
        return "of the seen classes" if facts["labels_used"] else "no label was read"
    counts = "{sketch:,} of sketches and {photo:,} of photos".format(**used["count"])
    return f"{counts}, of {used['classes']} seen classes ({used['amount']}), sha256 {used['sha256']}"


def _describe_card_split(split: Mapping[str, Any] | None) -> str:
    if not split:
        return "none: every image was used"
    return f"{split['name']} ({len(split['seen'])} seen, {len(split['unseen'])} unseen; sha256 {split['sha256']})"


def _format_card_results(evaluations: list[dict[str, Any]], path: Path) -> str:
    if not evaluations:
        return f"None yet. Measure it: `ssl-sbir evaluate {path} --data …`"
    lines = [row for facts in evaluations for row in _card_table_rows(facts)]
    notes = [f"{facts['split']['name']}: {facts['verdict']}" for facts in evaluations]
    return "\n".join([CARD_TABLE_HEADER, *lines, "", *notes])


def _card_table_rows(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, one in facts["protocols"].items():
        if "mAP@all" not in one:
            continue
        between = one["interval_queries"]["mAP@all"]
        before = ((facts["frozen"] or {}).get(name) or {}).get("mAP@all")
        cells = [
            f"{facts['split']['name']} (sha256 {facts['split']['sha256'][:12]}…)",
            name + (", centred" if facts["centre"] != "none" else ""),
            f"{one['mAP@all']:.3f}",
            f"{between['low']:.3f} to {between['high']:.3f}",
            f"{facts['chance']['mAP@all']:.3f}",
            "–" if before is None else f"{before:.3f}",
            f"{one['queries']:,} → {one['gallery']:,}",
        ]
        yield f"| {' | '.join(cells)} |"


def _card_limits(facts: Mapping[str, Any], evaluations: list[dict[str, Any]], size: int) -> Iterator[str]:
    yield f"Images are read at {size} px: details smaller than a stroke at that size are lost."
    classes = len(facts["trained_classes"])
    yield f"Trained on images of {classes} classes; things unlike all of them are found less well, if at all."
    if facts["split"] is None and not facts["labels_used"]:
        yield "No split was named: the run may have seen any class of this data, so no test on it is zero-shot."
    for one in evaluations:
        covered = one["imagenet"]["classes"]
        if covered and facts["start"]["pretrained"]:
            overlap = (
                f"{len(covered)} of {len(one['split']['unseen'])} unseen classes of {one['split']['name']}"
            )
            yield f"{overlap} are ImageNet classes; the weights it started from may have been trained on their labels."
    yield "Results hold for the sketches and photos they were measured on; other people draw differently."


def _card_licence(facts: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    licences = {row.name: row.licence for row in encoder_table()}
    start, teacher = facts["start"], config.get("teacher")
    lines = [f"- weights it started from: {_describe_start_weights(start)}"]
    if start["pretrained"]:
        lines[0] += f" ({licences.get(start['name'], 'see their model card')})"
    if isinstance(teacher, str):  # the settings of an untrained run of version 0.1.0 hold DINO's temperature
        lines.append(f"- teacher: {teacher} ({licences.get(teacher, 'see its model card')})")
    return "\n".join([*lines, f"- data: {facts['data']}, under the terms of its source"])
