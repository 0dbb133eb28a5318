"""A real Milvus server for tests, from the package `milvus`; stopped with its whole process group."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

STARTS_WITHIN = 60.0


class Server:
    """A standalone server of its own data folder and port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program(), "--data", str(folder / "data"), "--proxy-port", str(self.port)],
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        """Whether it answers before the time is up."""
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException

        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end and self.process.poll() is None:
            try:
                client = MilvusClient(uri=self.uri, timeout=2)
                client.list_collections(timeout=2)
            except MilvusException:
                time.sleep(0.5)
            else:
                client.close()
                return True
        return False

    def freeze(self) -> None:
        """Holds it and its children: connections stay open and nothing answers."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        """Ends it at once, with its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def program() -> str:
    """The server's program, empty where it isn't installed."""
    beside = Path(sys.executable).with_name("milvus-server")
    return str(beside) if beside.is_file() else shutil.which("milvus-server") or ""
