"""A process that imports torch once and then forks a study for each line it reads: something to kill, again and again.

A process that has used torch can't fork, so the test's own can't do this.
"""

import json
import os
import sys
from pathlib import Path

from inline_worker import InlineWorker

from ssl_sbir import recipes
from ssl_sbir.studies import StudyCell, grid


def main():
    """Reads the study's folder and cells from the first line; answers each further one with a study's process id."""
    grid.Worker = InlineWorker
    request = json.loads(sys.stdin.readline())
    cells = [StudyCell.from_facts(facts) for facts in request["cells"]]
    for cell in cells:
        recipes.load_recipe(cell.recipe)  # imports it before the first fork
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            grid.run_grid(cells, Path(request["out"]))
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
