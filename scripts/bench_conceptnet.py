"""Speed and memory of converting ConceptNet's dump, on a synthetic dump of the official format.

Run    python scripts/bench_conceptnet.py --lines 2000000
Cost   2 million lines: half a minute on one core, 60 MB of disk.
"""

import argparse
import gzip
import json
import random
import resource
import tempfile
import time
from pathlib import Path

from ssl_sbir.semantics.conceptnet import load_graph, read_graph, save_graph

DUMP_RELATIONS = ("RelatedTo", "IsA", "Synonym", "UsedFor", "AtLocation", "FormOf", "DerivedFrom")
# The share of edges between two English concepts in release 5.7: 3.4 of 34 million.
ENGLISH_SHARE = 0.1


def write_dump(path: Path, lines: int) -> None:
    """Writes a gzip dump, a tenth of it English; the vocabulary grows with the number of lines."""
    draw = random.Random(0)
    concepts = max(lines // 28, 10)  # 1.2 million English concepts in 34 million lines
    with gzip.open(path, "wt", compresslevel=1) as file:
        for _ in range(lines):
            language = "en" if draw.random() < ENGLISH_SHARE else draw.choice(("fr", "de", "ja"))
            start, end = (f"/c/{language}/concept_{draw.randrange(concepts)}/n" for _ in range(2))
            relation = draw.choice(DUMP_RELATIONS)
            facts = json.dumps(
                {
                    "dataset": "/d/made",
                    "license": "cc:by/4.0",
                    "sources": [{"process": "made"}],
                    "weight": 1.0,
                }
            )
            file.write(f"/a/[/r/{relation}/,{start}/,{end}/]\t/r/{relation}\t{start}\t{end}\t{facts}\n")


def main() -> None:
    """Prints lines per second, peak memory and the sizes of both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=2_000_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as folder:
        dump, compact = Path(folder) / "dump.csv.gz", Path(folder) / "graph.safetensors"
        write_dump(dump, lines)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, used = time.perf_counter(), time.process_time()
        found = read_graph(dump)
        save_graph(found.graph, compact)
        took, used = time.perf_counter() - start, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        load_graph(compact)
        print(f"{lines:,} lines in {took:.1f} s ({lines / took:,.0f}/s; {lines / used:,.0f} per s of CPU)")
        print(f"peak memory {peak / 1024:,.0f} MB, of which {before / 1024:,.0f} MB before the first line")
        print(f"dump {dump.stat().st_size / 1e6:,.0f} MB → {compact.stat().st_size / 1e6:,.1f} MB, "
              f"loaded in {time.perf_counter() - start:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
