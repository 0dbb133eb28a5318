"""Progress of tasks that take over two seconds: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

SILENT_SECONDS = 2.0
LINE_SECONDS = 10.0


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{_format_rate(speed)} {task.fields['unit']}/s" if speed else "")


class ProgressCounter:
    """Counts what is done and displays it; created by `show_progress`."""

    def __init__(self, total: int | None, what: str, unit: str) -> None:
        self.total, self.what, self.unit, self.done = total, what, unit, 0
        self._start = self._shown = time.monotonic()
        self._bar: Progress | None = None
        self._fields = ""

    def advance(self, n: int = 1, **fields: float | str) -> None:
        """Adds `n` to the count and displays it; `fields` are shown beside the bar (numbers with 3 digits)."""
        self.done += n
        if fields:
            self._fields = "  ".join(f"{key} {_format_field(value)}" for key, value in fields.items())
        now = time.monotonic()
        if now - self._start < SILENT_SECONDS:
            return
        if sys.stderr.isatty():
            self._draw_bar()
        elif now - self._shown >= LINE_SECONDS:
            self._shown = now
            self._print_line(now)

    def close(self) -> None:
        """Removes the bar from the screen."""
        if self._bar is not None:
            self._bar.stop()

    def _draw_bar(self) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[extra]}"),
                _RateColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task(self.what, total=self.total, unit=self.unit, extra="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self.done, extra=self._fields)

    def _print_line(self, now: float) -> None:
        rate = self.done / (now - self._start)
        share = f" {self.done / self.total:.0%}" if self.total else f" {self.done:,}"
        left = f"  eta {_format_duration((self.total - self.done) / rate)}" if self.total and rate else ""
        extra = f"  {self._fields}" if self._fields else ""
        print(
            f"{self.what}{share}{extra}  {_format_rate(rate)} {self.unit}/s{left}",
            file=sys.stderr,
            flush=True,
        )


def _format_field(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _format_rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def show_progress(total: int | None, what: str, unit: str = "img") -> Iterator[ProgressCounter]:
    """Yields a counter whose `advance(n, **fields)` displays rate and ETA on stderr.

    Args:
        total: the final count, or None if it is unknown.
        what: the task, in a word or two.
        unit: the noun for the rate.
    """
    counter = ProgressCounter(total, what, unit)
    try:
        yield counter
    finally:
        counter.close()
