"""Time and memory of every gallery engine on synthetic vectors.

    python scripts/bench_gallery.py                        a million vectors of 512 numbers, every engine
    python scripts/bench_gallery.py --count 200000 --engines exact faiss:ivf

Each engine runs in a process of its own, so that its peak memory is its own. Vectors are drawn about 1,000 centres, as
pictures come in kinds; queries are other draws about the same centres. Recall is against exact search. A million takes
2 GB on disk for the vectors (4 GB where the engine keeps a copy).
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
    """Vectors about centres that are the same for every seed."""
    centres = torch.randn(NUM_CENTERS, width, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(seed)
    kinds = torch.randint(NUM_CENTERS, (count,), generator=draw)
    return centres[kinds] + CLUSTER_SPREAD * torch.randn(count, width, generator=draw)


def create_filled_gallery(folder: Path, engine: str, count: int, width: int) -> Gallery:
    """A gallery of so many vectors."""
    gallery = create_gallery(folder, width, engine=engine, device="cpu")
    with gallery.write_transaction():
        for start in range(0, count, VECTORS_PER_CHUNK):
            rows = range(start, min(start + VECTORS_PER_CHUNK, count))
            gallery.add([f"{row:08}" for row in rows], sample_clustered_vectors(len(rows), width, start + 1))
    return gallery


def measure_engine(engine: str, count: int, width: int, k: int, folder: Path) -> dict[str, object]:
    """What one engine takes, and the ids that it finds."""
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
        "ids": [[it.id for it in of] for of in found],
    }


def format_engine_row(name: str, facts: dict[str, object], true: list[list[str]]) -> str:
    """A line of the table."""
    ids = facts["ids"]
    assert isinstance(ids, list)
    recall = sum(len(set(a) & set(b)) for a, b in zip(ids, true, strict=True)) / max(1, sum(map(len, true)))
    numbers = [
        facts[key] for key in ("build_s", "open_and_first_s", "single_ms", "batch_ms", "peak_gb", "disk_gb")
    ]
    shown = "".join(f"{value:>11.2f}" for value in numbers if isinstance(value, float))
    return f"{name:<12}{shown}{recall:>9.3f}"


def main() -> None:
    """Measures each engine in a process of its own and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("-k", type=int, default=100)
    parser.add_argument("--engines", nargs="+", default=list(BENCHED_ENGINES))
    parser.add_argument("--folder", type=Path, help="where indexes are made and removed; a temporary folder")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure_engine(asked.one, asked.count, asked.width, asked.k, asked.folder)))
        return
    print(
        f"{asked.count:,} × {asked.width}, first {asked.k} of {NUM_QUERIES} queries, {torch.get_num_threads()} threads"
    )
    print(
        f"{'engine':<12}{'build s':>11}{'open s':>11}{'single ms':>11}{'batch ms':>11}{'peak GB':>11}{'disk GB':>11}{'recall':>9}"
    )
    true: list[list[str]] = []
    for engine in asked.engines:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            command = [sys.executable, __file__, "--one", engine, "--folder", f"{folder}/index"]
            command += ["--count", str(asked.count), "--width", str(asked.width), "-k", str(asked.k)]
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
