"""Where jobs run: a worker, a batch job or a node that dies costs its job another try, never the run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path

import pytest

from tests.engine_jobs import Mark, done
from tests.test_folds import config, results
from zoo.errors import ProtocolError, ZooError
from zoo.train.engines import SlurmExecutor, open_engine
from zoo.train.folds import run_loso
from zoo.train.launch import SerialExecutor, Workers, local

needs_submitit = pytest.mark.skipif(
    not importlib.util.find_spec("submitit"), reason="the extra `slurm` is not installed"
)
needs_ray = pytest.mark.skipif(
    not importlib.util.find_spec("ray") or not os.environ.get("ZOO_SLOW_TESTS"),
    reason="needs the extra `ray`, and ZOO_SLOW_TESTS=1: two nodes of Ray take half a minute to start",
)
HERE = str(Path(__file__).resolve().parents[1])


class Flaky(Executor):
    """Loses the first tries of the named jobs, as a pool does whose worker was killed."""

    def __init__(self, losses):
        self.losses = losses

    def submit(self, fn, /, *args, **kwargs):
        name, future = fn.__self__.name, Future()
        if self.losses.get(name, 0) > 0:
            self.losses[name] -= 1
            future.set_exception(BrokenExecutor("the node went away"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_a_lost_job_is_run_again_and_the_others_once(tmp_path):
    ran = []
    jobs = [Mark(folder=str(tmp_path), name=n) for n in "abc"]
    Workers(lambda: Flaky({"b": 1}), slots=2).run(jobs, lambda job: ran.append(job.name))
    assert sorted(ran) == ["a", "b", "c"]
    assert sorted(p.name for p in tmp_path.glob("*.life*")) == ["a.life0", "b.life0", "c.life0"]


def test_a_job_that_is_always_lost_ends_the_run_after_all_others(tmp_path):
    jobs = [Mark(folder=str(tmp_path), name=n) for n in "abc"]
    with pytest.raises(ZooError, match="workers keep dying under 1 job"):
        Workers(lambda: Flaky({"a": 99}), slots=2).run(jobs, lambda job: None)
    assert done(tmp_path) == ["b", "c"], "what can be finished is finished"


def test_what_a_job_raises_ends_the_run_as_it_is(tmp_path):
    jobs = [
        Mark(folder=str(tmp_path), name="a"),
        Mark(folder=str(tmp_path), name="b", error="diverged"),
        Mark(folder=str(tmp_path), name="c"),
    ]
    with pytest.raises(ProtocolError, match="diverged"):
        Workers(SerialExecutor, slots=1).run(jobs, lambda job: None)
    assert done(tmp_path) == ["a"]


def test_enough_is_enough(tmp_path):
    seen = []
    jobs = [Mark(folder=str(tmp_path), name=n) for n in "abcd"]
    Workers(SerialExecutor, slots=1).run(jobs, lambda job: seen.append(job.name) or len(seen) < 2)
    assert done(tmp_path) == seen == ["a", "b"]


@pytest.mark.parametrize("text", ["lsf", "process:fast=1", "slurm:partition"])
def test_engines_that_do_not_exist(text, tmp_path):
    with pytest.raises(ZooError, match="engine"):
        open_engine(text, 1, tmp_path)


def test_a_killed_process_is_replaced(tmp_path):
    jobs = [
        Mark(folder=str(tmp_path), name="a"),
        Mark(folder=str(tmp_path), name="b", deaths=1),
        Mark(folder=str(tmp_path), name="c"),
    ]
    with local(1) as workers:
        workers.run(jobs, lambda job: None)
    assert done(tmp_path) == ["a", "b", "c"]
    assert len(list(tmp_path.glob("b.life*"))) == 2


@pytest.mark.timeout(900)  # three fresh processes, each of which imports torch: slow where the machine is busy
@needs_submitit
def test_submitit_trains_the_same_and_survives_a_kill(tmp_path, megc_folder, one_thread):
    """The local mode of submitit: its scripts, pickles and watching, without a queue."""
    folds = ["samm/011", "smic/s01"]
    workers = open_engine("slurm:cluster=local,poll=0.1,timeout_min=5", 1, tmp_path)
    jobs = [Mark(folder=str(tmp_path), name="a", deaths=1)]
    with workers:
        workers.run(jobs, lambda job: None)
        run_loso(config(megc_folder), out=tmp_path / "far", seeds=[0], folds=folds, workers=workers)
    assert done(tmp_path) == ["a"]
    assert len(list(tmp_path.glob("a.life*"))) == 2
    assert len(list((tmp_path / "slurm").glob("*_submitted.pkl"))) == 3, "both folds travelled in one job"
    run_loso(config(megc_folder), out=tmp_path / "near", seeds=[0], folds=folds, workers=0)
    for far, near in zip(results(tmp_path / "far"), results(tmp_path / "near"), strict=True):
        assert (far["keys"], far["logits"]) == (near["keys"], near["logits"]), (
            "bit for bit, with one thread on either side"
        )


def _slurm_conf(folder: Path, host: str) -> str:
    return f"""ClusterName=zoo
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ReturnToService=2
JobRequeue=0
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(monkeypatch):
    """A real SLURM of one node on loopback, without accounting, where Debian's slurm-wlm is installed and we may start it."""
    if not os.environ.get("ZOO_SLOW_TESTS"):
        pytest.skip("needs ZOO_SLOW_TESTS=1: it starts the daemons of a batch system")
    needed = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "runuser")
    absent = [name for name in needed if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if absent or os.geteuid() != 0:
        pytest.skip(
            f"needs SLURM (apt install slurm-wlm munge) and root to start it; absent: {', '.join(absent) or 'root'}"
        )
    import socket
    import tempfile

    folder, host = Path(tempfile.mkdtemp(prefix="slurm-")), socket.gethostname().partition(".")[0]
    folder.chmod(0o755)  # the munge daemon, another user, must get through to its own
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    (folder / "munge" / "key").write_bytes(os.urandom(128))
    (folder / "munge" / "key").chmod(0o400)
    for path in (folder / "munge", folder / "munge" / "key"):
        shutil.chown(path, "munge")
    (folder / "slurm.conf").write_text(_slurm_conf(folder, host))
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = ["runuser", "-u", "munge", "--", "munged", *(f"--{k}={folder}/munge/{v}" for k, v in files.items())]
    pids = [folder / "slurmd.pid", folder / "slurmctld.pid", folder / "munge" / "pid"]
    try:
        for command in (munge, ["slurmctld"], ["slurmd"]):
            started = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            if started.returncode:
                pytest.skip(f"SLURM does not start here: {command[0]}: {started.stderr.strip()[-200:]}")
        for _ in range(100):
            if (
                "idle"
                in subprocess.run(
                    ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, timeout=30, check=False
                ).stdout
            ):
                break
            time.sleep(0.2)
        else:
            pytest.skip("SLURM starts here, but its node does not come up")
        yield folder
    finally:
        for _ in range(50):  # a daemon that ends before its jobs leaves them behind
            left = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, timeout=30, check=False)
            if left.returncode or not left.stdout.strip():
                break
            time.sleep(0.2)
        for pid in pids:
            if pid.is_file() and pid.read_text().strip().isdigit():
                os.kill(int(pid.read_text()), signal.SIGTERM)
        time.sleep(0.5)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(900)
@needs_submitit
def test_a_batch_job_that_dies_on_a_real_slurm(slurm, tmp_path):
    jobs = [Mark(folder=str(tmp_path), name="a"), Mark(folder=str(tmp_path), name="b", deaths=1)]

    def opened():
        return SlurmExecutor(tmp_path / "slurm", cluster="slurm", poll=0.3, timeout_min=5, cpus_per_task=1)

    with Workers(opened, slots=2, coarse=True) as workers:
        workers.run(jobs, lambda job: None)
    assert done(tmp_path) == ["a", "b"]
    assert len(list(tmp_path.glob("b.life*"))) == 2
    assert len(list(tmp_path.glob("a.life*"))) == 1


@pytest.fixture
def ray_nodes(monkeypatch):
    """Two nodes of Ray on loopback, one processor each; the head looks every second whether the other still answers."""
    settings = {
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": HERE, "OMP_NUM_THREADS": "1",
        "RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "4000", "RAY_health_check_failure_threshold": "3",
        "RAY_raylet_start_wait_time_s": "180", "RAY_worker_register_timeout_seconds": "180",  # where others use the machine
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield cluster, cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    finally:
        cluster.shutdown()


@pytest.mark.timeout(900)
@needs_ray
def test_a_ray_node_that_dies_costs_its_job(ray_nodes, tmp_path, megc_folder, one_thread):
    """In the middle of a leave-one-subject-out; what it leaves is bit for bit what one machine makes."""
    cluster, second = ray_nodes
    out, recipe, notes = tmp_path / "far", config(megc_folder), []
    recipe["trainer"]["max_epochs"] = 60

    def kill() -> None:
        while len(list(out.glob("seed0/*.json"))) < 1:
            time.sleep(0.05)
        time.sleep(0.5)  # both nodes have a fit under way
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    with open_engine(f"ray:address={cluster.address}", 2, tmp_path) as workers:
        workers.on_lost = notes.append
        killer.start()
        run_loso(recipe, out=out, seeds=[0], workers=workers)
    killer.join(timeout=30)
    assert len(notes) == 1, notes
    assert "is run again" in notes[0]
    run_loso(recipe, out=tmp_path / "near", seeds=[0], workers=0)
    assert len(results(out)) == 7
    for far, near in zip(results(out), results(tmp_path / "near"), strict=True):
        assert (far["keys"], far["logits"]) == (near["keys"], near["logits"])


@pytest.mark.timeout(600)
@needs_ray
def test_ray_on_this_machine_alone(tmp_path, monkeypatch):
    """Without an address it starts one of its own, and ends it; a worker that dies costs its job another try."""
    monkeypatch.setenv("PYTHONPATH", HERE)
    jobs = [Mark(folder=str(tmp_path), name="a"), Mark(folder=str(tmp_path), name="b", deaths=1)]
    with open_engine("ray", 1, tmp_path) as workers:
        workers.run(jobs, lambda job: None)
    assert done(tmp_path) == ["a", "b"]
    assert len(list(tmp_path.glob("b.life*"))) == 2
    import ray

    assert not ray.is_initialized()
