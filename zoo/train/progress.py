"""Progress that survives a pipe: bars on a terminal, now and then a plain line elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console


class Progress:
    """Several things that advance at once (trials, folds, epochs), on stderr: answers alone go to stdout.

    Args:
        quiet: say nothing.
        every: seconds between two plain lines of one thing, where the output is no terminal.
    """

    def __init__(self, *, quiet: bool = False, every: float = 15.0, console: Console | None = None) -> None:
        self.quiet, self.every = quiet, every
        self.console = console or Console(stderr=True)
        self._bars: Any = None

    def __enter__(self) -> Progress:
        if not self.quiet and self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=self.console,
            )  # fmt: skip
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str, *, style: str = "") -> None:
        """A line that stays."""
        if not self.quiet:
            self.console.print(text, style=style or None, highlight=False, soft_wrap=True)

    def track(self, name: str, *, within: bool = False) -> Callable[..., None]:
        """A function ``(done, total, note="")`` that shows how far ``name`` has come.

        Args:
            name: what advances.
            within: it begins again and again inside something else: as plain lines, only what takes long is told.
        """
        if self.quiet:
            return lambda done, total, note="": None
        if self._bars is not None:
            task, bars = self._bars.add_task(name, total=None, note=""), self._bars
            return lambda done, total, note="": bars.update(task, completed=done, total=total, note=note)
        write = partial(self.console.print, highlight=False, soft_wrap=True)
        return _Lines(name, self.every, write, within)


class _Lines:
    """``folds 34/340 (10 %), 2 min left``: at the start, every few seconds, at the end."""

    def __init__(self, name: str, every: float, write: Callable[[str], None], within: bool = False) -> None:
        self.name, self.every, self.write, self.within = name, every, write, within
        self.started, self.last, self.first = time.monotonic(), float("-inf"), 0
        self.seen: tuple[int, int] | None = None

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        now = time.monotonic()
        if total is None or (done, total) == self.seen:
            return
        if self.seen is None or total != self.seen[1] or done < self.seen[0]:  # another pass over something
            self.started, self.first, self.last = now, done, now if self.within else float("-inf")
        self.seen = (done, total)
        if now - self.last < self.every and (self.within or done < total):
            return
        self.last = now
        fresh = done - self.first
        left = f", {_duration((now - self.started) / fresh * (total - done))} left" if fresh and done < total else ""
        share = f" ({100 * done // max(total, 1)} %)"
        self.write(f"{self.name} {done}/{total}{share}{left}{f'  {note}' if note else ''}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
