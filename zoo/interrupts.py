"""How a command ends when it is told to."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
from collections.abc import Iterator


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken as Ctrl-C is: workers end, what is open is closed."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM raises :class:`Terminated`; in a thread beside the main one nothing changes."""

    def stop(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def die() -> int:
    """Of SIGTERM, so that who sent it (a batch system, wandb's agent) sees that it was obeyed."""
    gc.collect()  # the semaphores of a pool, which lay in frames of the exception, are given back
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    signal.raise_signal(signal.SIGTERM)
    return 143
