"""What a program frees, it keeps for its next step."""

import subprocess
import sys

import pytest

CODE = """
import resource, torch
from ssl_sbir.cli._app import main
try:
    main(["--version"])
except SystemExit:
    pass
def touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(16 * 2**20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
touched()
print(touched())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_command_line_pays_for_a_page_once():
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert int(said.stdout.split()[-1]) < 1000  # five times 64 MiB are 81,920 pages of 4 KiB
