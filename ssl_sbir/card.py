"""A run's model card: what the model is, what it was made from, and what it is not for; filled from facts."""

from ssl_sbir.encoders import Encoder
from ssl_sbir.files import write_atomic
from ssl_sbir.run import RunFolder

CARD = """# {recipe} ({stage})

An encoder for sketch-based image retrieval: drawings and photos to vectors that are compared by their cosine.

- recipe: {recipe}, seed {seed}
- started from: {start}
- data: {data}, manifest sha256 {manifest_sha256}
- images: {photos:,} photos, {sketches:,} sketches; {labels}
- split: {split}
- input: {size} px, RGB in 0..1 (it normalises by itself); output: {width} numbers
- made by: ssl-sbir {version}

Load it: `ssl_sbir.RunFolder.open("{path}").encoder()`

Meant for finding pictures of kinds like those it was trained on by drawing. Not meant for deciding about people.
How well it retrieves is measured by `ssl-sbir evaluate {path} --data …`; this card makes no claim. Its licence
follows from the weights it started from (`ssl-sbir encoders`) and from the data.
"""


def write_card(run: RunFolder, encoder: Encoder) -> None:
    """Writes `model/README.md` from the run's provenance."""
    facts = run.provenance
    split = facts["split"]
    text = CARD.format(
        recipe=facts["recipe"],
        stage=facts["stage"],
        seed=facts["seed"],
        start=facts["from"] or facts["start"]["name"],
        data=facts["data"],
        manifest_sha256=facts["manifest_sha256"],
        photos=facts["images"]["photo"],
        sketches=facts["images"]["sketch"],
        labels="labels of the seen classes" if facts["labels_used"] else "no label was read",
        split=f"{split['name']} (sha256 {split['sha256']})" if split else "none: every image was used",
        size=encoder.preprocess.size,
        width=encoder.width,
        version=facts["versions"]["ssl-sbir"],
        path=run.path,
    )
    write_atomic(run.path / "model" / "README.md", text)
