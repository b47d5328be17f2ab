"""Where jobs run. The seam is Python's own ``concurrent.futures.Executor``: anything with ``submit`` fits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

from zoo.errors import ZooError


class Runnable(Protocol):
    """What can be run elsewhere: plain values with a method."""

    def run(self) -> Any:
        """Do it."""


J = TypeVar("J", bound=Runnable)


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


class ProcessExecutor(ProcessPoolExecutor):
    """Fresh processes of one thread each, deaf to Ctrl-C until they know what it means (:func:`_start_worker`).

    A worker that is caught in the middle of its imports would print a traceback; held back, the signal ends it without a word.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=get_context("spawn"), initializer=_start_worker)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See :meth:`concurrent.futures.Executor.submit`; workers are started here."""
        with _interrupt_held():
            return super().submit(fn, *args, **kwargs)


class Workers:
    """Runs jobs on an executor: opened when it is first needed, kept between calls, replaced when a worker dies.

    A worker that dies (:class:`concurrent.futures.BrokenExecutor`) costs its job one more try, not the run. What a job raises
    itself ends the run: jobs that are under way still finish, none is begun.

    Args:
        open_executor: makes an executor.
        slots: how many jobs are handed over at a time.
        coarse: starting a job is dear there (a batch system): folds are handed over in bundles, one per slot.

    ``on_lost`` may be set: it is told in words of jobs that are run again.
    """

    def __init__(self, open_executor: Callable[[], Executor], *, slots: int, coarse: bool = False) -> None:
        self.open_executor, self.slots, self.coarse = open_executor, max(slots, 1), coarse
        self.on_lost: Callable[[str], None] = lambda text: None
        self._executor: Executor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, jobs: Sequence[J], on_done: Callable[[J], bool | None], on_wait: Callable[[], None] = lambda: None
    ) -> None:
        """Run every job.

        Args:
            jobs: plain values, so that they can travel.
            on_done: called here with each job that is finished; False: no more is wanted.
            on_wait: called here every other second while nothing is finished.

        Raises:
            ZooError: jobs whose workers die again and again.
        """
        left, again = list(jobs), False
        while left:
            lost = self._round(left, on_done, on_wait)
            if again and len(lost) == len(left):
                raise ZooError(
                    f"workers keep dying under {len(lost)} job{'s' * (len(lost) > 1)} ({_first(lost[0])}), most often because "
                    f"memory runs out: try fewer --workers, or a smaller data.batch_size; what was finished is kept"
                )
            left, again = lost, bool(lost)

    def close(self, *, now: bool = False) -> None:
        """Let go of the executor; ``now`` also ends what is under way."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        if now:
            for process in list((getattr(executor, "_processes", None) or {}).values()):
                process.kill()  # a fit may take minutes more, and its result is not wanted yet
            executor.shutdown(wait=hasattr(executor, "_processes"), cancel_futures=True)
        else:
            executor.shutdown(wait=True, cancel_futures=True)

    def _round(self, jobs: Sequence[J], on_done: Callable[[J], bool | None], on_wait: Callable[[], None]) -> list[J]:
        """Run jobs; returns those whose worker died."""
        wanted = True
        queue, running, lost = deque(jobs), {}, []  # type: deque[J], dict[Future[Any], J], list[J]
        self._executor = executor = self._executor or self.open_executor()
        broken, torn = False, []  # type: bool, list[J]
        try:
            while queue or running:
                while queue and not broken and len(running) < self.slots:
                    try:
                        running[executor.submit(queue[0].run)] = queue[0]
                        queue.popleft()
                    except BrokenExecutor:
                        broken = True
                if broken:
                    lost += queue
                    queue.clear()
                done, _ = wait(running, timeout=2, return_when=FIRST_COMPLETED)
                if not done:
                    on_wait()
                for future in done:
                    job = running.pop(future)
                    try:
                        if not future.cancelled():
                            future.result()
                    except BrokenExecutor as error:
                        lost.append(job)
                        if isinstance(error, BrokenProcessPool):  # takes down all that was under way in it
                            broken = True
                            torn.append(job)
                        else:
                            self.on_lost(f"{_first(job)} is run again: {error}")
                    else:
                        wanted = wanted and on_done(job) is not False
                if not wanted:
                    queue.clear()
                    for future in running:
                        future.cancel()  # what has begun is waited for: its result may serve later
        except BaseException as error:
            self.close(now=isinstance(error, KeyboardInterrupt))
            raise
        if torn:
            more = f" and {len(torn) - 1} more" if len(torn) > 1 else ""
            self.on_lost(f"{_first(torn[0])}{more} to be run again: a worker died")
        if broken:
            self.close()
        return lost if wanted else []


def _first(job: Any) -> str:
    return ", ".join([f"seed {job.seed}", *job.folds[:3]]) if hasattr(job, "folds") else str(job)


def local(workers: int) -> Workers:
    """``workers`` fresh processes with one thread each, or this process for 0.

    Many small fits gain nothing from threads inside one fit and lose much to two pools fighting for the same cores.
    """
    if workers <= 0:
        quiet()
        return Workers(SerialExecutor, slots=1)

    return Workers(lambda: ProcessExecutor(workers), slots=2 * workers)


@contextlib.contextmanager
def _interrupt_held() -> Iterator[None]:
    """Processes started within inherit a Ctrl-C that waits; here it comes through at the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """A signal ends a worker at once and without a word: results are whole or absent."""
    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # Lightning would only note it, but honours a handler
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _die_with_parent()
    keep_freed_memory()
    quiet()


def one_thread() -> None:
    """Fits beside each other, not threads within one; torch reads the variable where it is not imported yet."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for jobs for ever; Linux can end it instead."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        parent = parent_process()
        if parent is not None and os.getppid() != parent.pid:  # it was gone before this was asked for
            os._exit(1)


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

    import pytorch_lightning  # noqa: F401 - importing it later would set its loggers back

    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch\.jit|torch\.utils).*")
    warnings.filterwarnings("ignore", message=r".*(litlogger|does not have many workers|LeafSpec).*")
