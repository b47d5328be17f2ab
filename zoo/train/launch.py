"""Where jobs run. The seam is Python's own ``concurrent.futures.Executor``: anything with ``submit`` fits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


class SerialExecutor(Executor):
    """Runs each job at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See :meth:`concurrent.futures.Executor.submit`."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def executor(workers: int) -> Executor:
    """A pool of ``workers`` fresh processes with one thread each, or this process for ``workers=0``.

    Many small fits gain nothing from threads inside one fit and lose much to two pools fighting for the same cores.
    """
    if workers <= 0:
        quiet()
        return SerialExecutor()
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    _die_with_parent()
    keep_freed_memory()
    quiet()


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for jobs for ever; Linux can end it instead."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def keep_freed_memory() -> None:
    """Tell glibc to reuse freed blocks in place of returning them: page faults are a quarter of a small CPU training step."""
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL("libc.so.6").mallopt
        except (OSError, AttributeError):  # another C library: nothing to tune
            return
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def quiet() -> None:
    """Keep Lightning's banners and advice out of runs of hundreds of fits; errors still come through."""
    import logging
    import warnings

    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch\.jit|torch\.utils).*")
    warnings.filterwarnings("ignore", message=r".*(litlogger|does not have many workers|LeafSpec).*")
