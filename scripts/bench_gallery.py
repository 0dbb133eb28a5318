"""Time and memory of every gallery engine on synthetic vectors.

    python scripts/bench_gallery.py                        a million vectors of 512 numbers, every engine
    python scripts/bench_gallery.py --count 200000 --engines exact faiss:ivf

Each engine runs in its own process, to measure its own peak memory. Vectors are sampled around 1,000 centers, since
pictures form clusters; queries are further samples around the same centers. Recall is against exact search. A million
vectors take 2 GB on disk (4 GB where the engine keeps a copy).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from ssl_sbir.errors import SslSbirError
from ssl_sbir.gallery.base import Gallery
from ssl_sbir.gallery.create import create_gallery, open_gallery

BENCHED_ENGINES = ("exact", "faiss", "faiss:ivf", "faiss:hnsw", "milvus")
NUM_CENTERS, VECTORS_PER_CHUNK, NUM_QUERIES, CLUSTER_SPREAD = 1000, 10_000, 100, 1.5
BYTES_PER_GB = 1e9


def sample_clustered_vectors(count: int, width: int, seed: int) -> torch.Tensor:
    """Vectors around centers that are the same for every seed."""
    centers = torch.randn(NUM_CENTERS, width, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    clusters = torch.randint(NUM_CENTERS, (count,), generator=generator)
    return centers[clusters] + CLUSTER_SPREAD * torch.randn(count, width, generator=generator)


def create_filled_gallery(folder: Path, engine: str, count: int, width: int) -> Gallery:
    """A gallery of `count` vectors."""
    gallery = create_gallery(folder, width, engine=engine, device="cpu")
    with gallery.write_transaction():
        for start in range(0, count, VECTORS_PER_CHUNK):
            rows = range(start, min(start + VECTORS_PER_CHUNK, count))
            gallery.add([f"{row:08}" for row in rows], sample_clustered_vectors(len(rows), width, start + 1))
    return gallery


def measure_engine(engine: str, count: int, width: int, k: int, folder: Path) -> dict[str, object]:
    """Time and memory of one engine, and the ids that it finds."""
    start = time.monotonic()
    made = create_filled_gallery(folder, engine, count, width)
    built = time.monotonic() - start
    made.close()
    del made
    start = time.monotonic()
    gallery = open_gallery(folder, device="cpu")
    queries = torch.nn.functional.normalize(sample_clustered_vectors(NUM_QUERIES, width, 0))
    gallery.search(queries[:1], k)
    opened = time.monotonic() - start
    start = time.monotonic()
    for query in queries[:10]:
        gallery.search(query[None], k)
    single = (time.monotonic() - start) / 10
    start = time.monotonic()
    found = gallery.search(queries, k)
    batch = (time.monotonic() - start) / NUM_QUERIES
    gallery.close()
    return {
        "build_s": built,
        "open_and_first_s": opened,
        "single_ms": 1000 * single,
        "batch_ms": 1000 * batch,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / BYTES_PER_GB,
        "disk_gb": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / BYTES_PER_GB,
        "ids": [[item.id for item in items] for items in found],
    }


def format_engine_row(name: str, facts: dict[str, object], true: list[list[str]]) -> str:
    """One row of the table; `true` are the ids that exact search finds."""
    ids = facts["ids"]
    assert isinstance(ids, list)
    recall = sum(len(set(a) & set(b)) for a, b in zip(ids, true, strict=True)) / max(1, sum(map(len, true)))
    numbers = [
        facts[key] for key in ("build_s", "open_and_first_s", "single_ms", "batch_ms", "peak_gb", "disk_gb")
    ]
    shown = "".join(f"{value:>11.2f}" for value in numbers if isinstance(value, float))
    return f"{name:<12}{shown}{recall:>9.3f}"


def main() -> None:
    """Measures each engine in its own process and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("-k", type=int, default=100)
    parser.add_argument("--engines", nargs="+", default=list(BENCHED_ENGINES))
    parser.add_argument(
        "--folder", type=Path, help="where indexes are made and removed; by default a temporary folder"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(
            json.dumps(measure_engine(options.one, options.count, options.width, options.k, options.folder))
        )
        return
    print(
        f"{options.count:,} × {options.width}, first {options.k} of {NUM_QUERIES} queries, {torch.get_num_threads()} threads"
    )
    print(
        f"{'engine':<12}{'build s':>11}{'open s':>11}{'single ms':>11}{'batch ms':>11}{'peak GB':>11}{'disk GB':>11}{'recall':>9}"
    )
    true: list[list[str]] = []
    for engine in options.engines:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            command = [sys.executable, __file__, "--one", engine, "--folder", f"{folder}/index"]
            command += ["--count", str(options.count), "--width", str(options.width), "-k", str(options.k)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"{engine:<12} failed")
            continue
        facts = json.loads(done.stdout)
        true = true or facts["ids"]
        print(format_engine_row(engine, facts, true), flush=True)


if __name__ == "__main__":
    try:
        main()
    except SslSbirError as error:
        sys.exit(f"error: {error}")
