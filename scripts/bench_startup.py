"""Start-up time of the command line: processor time and wall time of short commands, each in a new process.

    python scripts/bench_startup.py                   three repetitions of every command
    python scripts/bench_startup.py --turns 5 --json  one JSON object

Each figure is the median over the repetitions, whose commands take turns. `import torch` is the reference of the
commands that print tables or refuse a request; a process that imports torch and loads the run's encoder is the reference
of a search, which runs on an index of 1,000 generated photos by efficientnet_lite0 with random weights at 96 px. The
index is made once, in a temporary folder. Three repetitions take about three minutes on two cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

NUM_PHOTOS, PHOTO_SIDE, NUM_CLASSES = 1000, 96, 10
LOAD_ENCODER = "import torch, sys\nfrom ssl_sbir.encoders import load_encoder\nload_encoder(sys.argv[1])"
TORCH, ENCODER = "import torch", "import torch, load encoder"  # the two references


@dataclass(frozen=True)
class TimedCommand:
    """A command and its times.

    Attributes:
        name: for the table.
        arguments: of a new process of this Python.
        reference: name of the command to compare with.
        statuses: the exit codes that it may have.
    """

    name: str
    arguments: tuple[str, ...]
    reference: str = TORCH
    statuses: tuple[int, ...] = (0,)


def create_photos(folder: Path) -> None:
    """A folder of smooth pictures and of drawings by class, as `folder:` reads them."""
    random = np.random.default_rng(0)
    for number in range(NUM_PHOTOS):
        for domain in ("photo", "sketch"):
            (folder / domain / f"class{number % NUM_CLASSES}").mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        place = Path(f"class{number % NUM_CLASSES}") / f"{number}"
        coarse.resize((PHOTO_SIDE, PHOTO_SIDE)).save(folder / "photo" / place.with_suffix(".jpg"))
        if number < 4 * NUM_CLASSES:
            lines = np.where(random.random((PHOTO_SIDE, PHOTO_SIDE)) < 0.05, 0, 255).astype(np.uint8)
            Image.fromarray(lines).save(folder / "sketch" / place.with_suffix(".png"))


def create_index(folder: Path) -> None:
    """Photos, an exported encoder and an index in `folder`: photos/, model/, index/."""
    from ssl_sbir.encoders import load_encoder, save_encoder
    from ssl_sbir.search.retriever import Retriever

    create_photos(folder / "photos")
    encoder = load_encoder("efficientnet_lite0", size=PHOTO_SIDE, pretrained=False)
    save_encoder(encoder, folder / "model")
    retriever = Retriever.load(folder / "model", device="cpu")
    retriever.index(folder / "photos" / "photo", folder / "index").gallery.close()


def timed_commands(folder: Path) -> list[TimedCommand]:
    """What is measured; references come first."""
    data, sketch = f"folder:{folder / 'photos'}", str(folder / "photos" / "sketch" / "class0" / "0.png")
    finetune = ("finetune", "sake", "--data", data, "--dry-run")
    cli = ("-m", "ssl_sbir")
    return [
        TimedCommand(TORCH, ("-c", "import torch")),
        TimedCommand(ENCODER, ("-c", LOAD_ENCODER, str(folder / "model"))),
        TimedCommand("--help", (*cli, "--help")),
        TimedCommand("recipes list", (*cli, "recipes", "list")),
        TimedCommand("encoders", (*cli, "encoders")),
        TimedCommand("data list", (*cli, "data", "list")),
        TimedCommand("doctor", (*cli, "doctor"), statuses=(0, 1)),
        TimedCommand("finetune sake --dry-run", (*cli, *finetune)),
        TimedCommand("unknown recipe", (*cli, "finetune", "sakee", "--data", data), statuses=(2,)),
        TimedCommand("search", (*cli, "search", str(folder / "index"), "--sketch", sketch), ENCODER),
    ]


def run_timed(command: TimedCommand) -> tuple[float, float]:
    """Processor and wall seconds of the command in a new process."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command.arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr:
        errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in command.statuses:
        sys.exit(f"{command.name}: exit code {process.returncode}\n{errors}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started


def measure_commands(folder: Path, turns: int) -> dict[str, dict[str, float]]:
    """Median times of each command in seconds, and their ratios to its reference."""
    commands = timed_commands(folder)
    times: dict[str, list[tuple[float, float]]] = {command.name: [] for command in commands}
    for _ in range(turns):
        for command in commands:
            times[command.name].append(run_timed(command))
    medians = {name: tuple(map(statistics.median, zip(*pairs, strict=True))) for name, pairs in times.items()}
    return {
        command.name: {
            "processor_s": medians[command.name][0],
            "wall_s": medians[command.name][1],
            "processor_ratio": medians[command.name][0] / medians[command.reference][0],
            "wall_ratio": medians[command.name][1] / medians[command.reference][1],
        }
        for command in commands
    }


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=3, help="repetitions")
    parser.add_argument("--folder", type=Path, help="keeps the photos and the index, and uses them again")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "index" / "index.json").is_file():
            create_index(folder)
        facts = measure_commands(folder, options.turns)
    if options.json:
        print(json.dumps(facts, indent=1))
        return
    print(f"{'command':<28}{'processor s':>12}{'ratio':>7}{'wall s':>9}{'ratio':>7}")
    for name, row in facts.items():
        ratios = f"{row['processor_s']:>12.2f}{row['processor_ratio']:>7.2f}"
        print(f"{name:<28}{ratios}{row['wall_s']:>9.2f}{row['wall_ratio']:>7.2f}")


if __name__ == "__main__":
    main()
