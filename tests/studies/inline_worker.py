"""A study's worker without a process of its own: the test's process has loaded torch already."""

import sys

from ssl_sbir.studies.worker import find_failure_cause


class InlineWorker:
    """Runs cells as `Worker` does, in this process."""

    def __init__(self, threads):
        self.threads = threads

    def run_cell(self, cell, folder, log):
        arguments = sys.argv[1:]
        sys.argv[1:] = cell.command_arguments(folder)
        try:
            return find_failure_cause(cell, folder)
        finally:
            sys.argv[1:] = arguments

    def close(self):
        """There is no process to end."""
