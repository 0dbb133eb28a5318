"""A study's worker without a process of its own: the test's process has loaded torch already."""

import sys

from ssl_sbir.studies.worker import find_failure_cause
from ssl_sbir.studies.worker_pool import Worker


class InlineWorker(Worker):
    """Runs cells in this process."""

    def run_cell(self, cell, folder, log):
        arguments = sys.argv[1:]
        sys.argv[1:] = cell.command_arguments(folder)
        try:
            return find_failure_cause(cell, folder)
        finally:
            sys.argv[1:] = arguments
