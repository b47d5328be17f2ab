"""More machines: SLURM through submitit, and Ray, each an ordinary ``concurrent.futures.Executor`` over the same jobs.

A node that dies looks like a broken pool (:class:`concurrent.futures.BrokenExecutor`), so :class:`zoo.train.launch.Workers` runs
its job once more, elsewhere. Results are files: ``--out`` and the data must lie on a disk that all machines share.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any, Literal, cast, get_args

from zoo.errors import ZooError, missing_extra
from zoo.train.launch import Workers, keep_freed_memory, local, one_thread, quiet

Engine = Literal["process", "slurm", "ray"]
_STORE = 100 * 2**20  # bytes


def open_engine(text: str, workers: int, folder: Path) -> Workers:
    """The engine that a flag names.

    Args:
        text: ``process`` (also ""), ``slurm`` or ``ray``, with options: ``slurm:partition=gpu,timeout_min=60`` (any parameter of
            submitit; ``cluster=local`` tries it without SLURM), ``ray:address=HOST:PORT,num_gpus=0.25``.
        workers: processes or nodes at a time; 0 runs here.
        folder: of the run; batch scripts and their logs lie under it.

    Raises:
        ZooError: an unknown engine or option.
        MissingExtra: its package is not installed.
    """
    name, _, rest = text.partition(":")
    options = _options(rest)
    if name and name not in get_args(Engine):
        raise ZooError(f"there is no engine {name!r}; known: {', '.join(get_args(Engine))}")
    match cast(Engine, name or "process"):
        case "process":
            if options:
                raise ZooError(f"the engine process takes no options, got {rest!r}; --workers says how many")
            return local(workers)
        case "slurm":
            return Workers(lambda: SlurmExecutor(folder / "slurm", **options), slots=workers, coarse=True)
        case "ray":
            return Workers(lambda: RayExecutor(**options), slots=workers)


def _options(text: str) -> dict[str, Any]:
    import yaml

    options = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ZooError(f"engine option {part!r} is not KEY=VALUE")
        options[key.strip()] = value if ":" in value else yaml.safe_load(value)  # 2:30 is a time, no number to base 60
    return options


def _outcome(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Exception | None]:
    """Run on the other machine; an exception comes back as itself, not as a text about it."""
    one_thread()
    keep_freed_memory()
    quiet()
    try:
        return fn(*args, **kwargs), None
    except Exception as error:
        return None, error


def _settle(future: Future[Any], outcome: tuple[Any, Exception | None]) -> None:
    value, error = outcome
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


class SlurmExecutor(Executor):
    """Each submission is one batch job of submitit.

    Args:
        folder: scripts and logs.
        cluster: ``slurm``, or ``local`` for processes of this machine by the same road; found out if not given.
        poll: seconds between looks at the jobs.
        parameters: of submitit, with the prefix ``slurm_`` where it has one (``slurm_partition``; plain ``partition`` will do).
    """

    def __init__(self, folder: Path, *, cluster: str | None = None, poll: float = 1.0, **parameters: Any) -> None:
        try:
            import submitit
        except ImportError as error:
            raise missing_extra("slurm", "submitit", "--engine slurm") from error
        try:
            self._inner = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._inner.update_parameters(**_named(self._inner, parameters))
        except (RuntimeError, NameError, ValueError, TypeError) as error:
            raise ZooError(
                f"submitit does not take this: {error}; is `sbatch` there? (slurm:cluster=local does without)"
            ) from error
        if self._inner.cluster == "local" and cluster is None:
            raise ZooError(
                "`sbatch` is not there; run this on a machine that submits to SLURM, or use slurm:cluster=local"
            )
        self.poll, self._looked = poll, 0.0
        self._open: dict[Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See :meth:`concurrent.futures.Executor.submit`."""
        future: Future[Any] = Future()
        try:
            job = self._inner.submit(_outcome, fn, args, kwargs)
        except Exception as error:  # submitit raises what sbatch printed
            raise ZooError(f"the job was not accepted: {' '.join(str(error).split())}") from error
        future.set_running_or_notify_cancel()
        with self._lock:
            self._open[future] = job
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the jobs, or with ``cancel_futures`` take them out of the queue and end them."""
        with self._lock:
            left = list(self._open.values())
        if cancel_futures:
            for job in left:
                job.cancel()
        elif wait and self._watcher is not None:
            self._watcher.join()

    def _watch(self) -> None:
        missed: dict[str, int] = {}
        while True:
            with self._lock:
                done = [
                    (future, job) for future, job in self._open.items() if job.done() or missed.get(job.job_id, 0) >= 3
                ]
                for future, _ in done:
                    del self._open[future]
            for future, job in done:
                try:
                    if missed.get(job.job_id, 0) >= 3 and not job.done():
                        raise RuntimeError("it has left the queue")
                    _settle(future, job.result())
                except Exception as error:  # no result: the node died, the time was up, memory ran out
                    lost = BrokenExecutor(
                        f"job {job.job_id} ended without a result: {' '.join(str(error).split())[:500]}"
                    )
                    future.set_exception(lost)
            with self._lock:
                if not self._open:
                    self._watcher = None
                    return
            time.sleep(self.poll)
            self._miss(missed)

    def _miss(self, missed: dict[str, int]) -> None:
        """Count how often a job was not in the queue: where SLURM keeps no accounts, submitit waits for a dead one for ever."""
        if self._inner.cluster != "slurm":
            return
        with self._lock:
            unknown = [job.job_id for job in self._open.values() if job.state == "UNKNOWN"]
        if not unknown or time.monotonic() < self._looked + 5:
            return
        self._looked = time.monotonic()
        listed = subprocess.run(
            ["squeue", "--noheader", "--format=%A", "--me"], capture_output=True, text=True, check=False
        )
        if listed.returncode == 0:  # else the controller is busy: ask again
            for job in unknown:
                missed[job] = 0 if job in listed.stdout.split() else missed.get(job, 0) + 1


def _named(inner: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """submitit knows a few parameters for every cluster; SLURM's own carry a prefix."""
    shared = {
        "name",
        "timeout_min",
        "mem_gb",
        "nodes",
        "cpus_per_task",
        "gpus_per_node",
        "tasks_per_node",
        "stderr_to_stdout",
    }
    if inner.cluster == "local":
        return {k: v for k, v in parameters.items() if k in shared}
    return {k if k in shared or k.startswith("slurm_") else f"slurm_{k}": v for k, v in parameters.items()}


class RayExecutor(Executor):
    """Each submission is one task of Ray.

    Args:
        address: of a running cluster (``auto``, ``HOST:PORT``); a cluster of this machine alone if not given. How soon a silent
            node is given up is a setting of the cluster's head (``RAY_health_check_period_ms``, ``…_failure_threshold``).
        options: of each task, e.g. ``num_cpus=1``, ``num_gpus=0.25``.
    """

    def __init__(self, *, address: str | None = None, **options: Any) -> None:
        os.environ.setdefault(
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0"
        )  # workers use this very environment, not a fresh one
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise missing_extra("ray", "ray", "--engine ray") from error
        self._ray, self._started = ray, not ray.is_initialized()
        try:
            if self._started:
                # results are files: next to nothing travels through the store of objects, whose default is a third of the memory
                own: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": _STORE}
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
            # Ray's own retries would hide a node that dies again and again; ours are counted
            self._task = ray.remote(_outcome).options(**{"num_cpus": 1, "max_retries": 0, **options})
        except (ConnectionError, ValueError, TypeError, RuntimeError) as error:
            raise ZooError(f"Ray does not start: {' '.join(str(error).split())}") from error
        self._open: dict[Future[Any], Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See :meth:`concurrent.futures.Executor.submit`."""
        reference = self._task.remote(fn, args, kwargs)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._open[future] = reference
        reference.future().add_done_callback(lambda inner: self._done(future, inner))
        return future

    def _done(self, future: Future[Any], inner: Future[Any]) -> None:
        self._open.pop(future, None)
        try:
            _settle(future, inner.result())
        except Exception as error:  # Ray's: the worker, its node or its memory is gone
            future.set_exception(BrokenExecutor(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks, or with ``cancel_futures`` end them; leave the cluster if we joined it."""
        open_now = list(self._open.values())
        if cancel_futures:
            for reference in open_now:
                self._ray.cancel(reference, force=True)
        elif wait and open_now:
            self._ray.wait(open_now, num_returns=len(open_now))
        if self._started:
            self._ray.shutdown()
