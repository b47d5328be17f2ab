"""The real hub client against a server on loopback: the way there, the way back, and what can go wrong on both."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fakes.hub import Hub, serve

import zoo
from zoo.types import MEGC_CLASSES

pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
FILES = {"config.json", "model.safetensors", "README.md"}


DRIVER = """
import contextlib, io, json, sys
from zoo.cli import main
import zoo
def load(name):
    try:
        m = zoo.load(name); return 'ok %s %s' % (float(m.fc.weight.sum()), m.card.strip())
    except zoo.ZooError as e:
        return type(e).__name__ + ' ' + ' '.join(str(e).split())
for line in sys.stdin:
    argv = json.loads(line)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        answer = load(argv[1]) if argv[0] == 'load' else main(argv)
    print(json.dumps([answer, out.getvalue(), err.getvalue()]), flush=True)
"""


class Client:
    """A process with the hub's client in it, which reads its environment when it is imported; it obeys line by line."""

    def __init__(self, endpoint: str, home: Path, **env: str) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
                    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": "hf_test", "OMP_NUM_THREADS": "1", **env}  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            env={**clean, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *argv: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(argv) + "\n")
        self.process.stdin.flush()
        answer, out, err = json.loads(self.process.stdout.readline())
        return answer, out, err

    def load(self, name: str) -> str:
        """What zoo.load says: ok, the sum of the classifier and the card; or the error."""
        return str(self("load", name)[0])

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    return zoo.save(
        zoo.create_model("ststnet"), tmp_path_factory.mktemp("made") / "net", classes=MEGC_CLASSES, card="# card\n"
    )


@pytest.fixture(scope="module")
def server():
    made = Hub()
    with serve(made) as made.endpoint:
        yield made


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    made = Client(server.endpoint, tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@pytest.fixture
def another(server):
    """Further clients, with other settings."""
    opened = []

    def start(home: Path, **env: str) -> Client:
        opened.append(Client(env.pop("endpoint", server.endpoint), home, **env))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def hub(server):
    server.asked.clear()
    server.readonly, server.corrupt, server.moved_by, server.cut_after, server.large = False, False, None, None, 1 << 30
    return server


@pytest.fixture
def repo(hub, checkpoint, request):
    """A repository of this test's own that holds the checkpoint, with its first commit."""
    name = f"lab/{abs(hash(request.node.name)):x}"
    return name, hub.commit(name, {f: (checkpoint / f).read_bytes() for f in FILES})


# --- loading


def test_download_then_cache_then_offline(hub, repo, client, another, tmp_path):
    name = f"hf-hub:{repo[0]}@{repo[1]}"
    first = client.load(name)
    assert first.startswith("ok") and first.endswith("# card")
    asked = {p.rpartition("/")[2] for p in hub.asked if "/resolve/" in p}
    assert asked == FILES, "nothing but the three named files is asked for"
    hub.asked.clear()
    assert client.load(name) == first and hub.asked == [], "what the cache holds is not asked for again"
    without = another(tmp_path / "empty", HF_HUB_OFFLINE="1")
    assert "not in the local cache" in without.load(name)
    code, _, error = without("push", "ststnet.megc2019", "--repo", "lab/x")
    assert code == 2 and "HF_HUB_OFFLINE" in error


def test_faults_are_named(hub, client):
    hub.commit("lab/half", {"config.json": b"{}", "README.md": b""})
    assert "cannot be fetched" in client.load("hf-hub:lab/other")
    assert "no repository" in client.load("hf-hub:../../etc")
    assert "holds no zoo checkpoint" in client.load("hf-hub:lab/half")


def test_a_file_changed_on_the_hub_is_refused(hub, repo, checkpoint, another, tmp_path):
    """An entry of the index with a repository: what arrives must be the file that was listed."""
    from zoo.weights import sha256

    shelf = tmp_path / "shelf"
    shelf.mkdir()
    files = {f: {"bytes": (checkpoint / f).stat().st_size, "sha256": sha256(checkpoint / f)} for f in FILES}
    changed = hub.commit(repo[0], {"README.md": b"# cord\n"})
    entries = {
        f"ststnet.{tag}": {"arch": "ststnet", "files": files, "repo": repo[0], "revision": revision}
        for tag, revision in (("far", repo[1]), ("changed", changed))
    }
    (shelf / "index.json").write_text(json.dumps({"format": 1, "weights": entries}))
    client = another(tmp_path / "home", ZOO_CHECKPOINTS=str(shelf))
    assert client.load("ststnet.far").startswith("ok")
    assert "README.md is not the published file" in client.load("ststnet.changed")


def test_nothing_from_a_hub_is_run(hub, repo, client, tmp_path):
    """A pickle under the name of the weights, and code beside them, are refused or never asked for."""
    trap = tmp_path / "trap"

    class Bomb:
        def __reduce__(self):
            return (Path(trap).touch, ())

    hub.commit(repo[0], {"model.safetensors": pickle.dumps(Bomb()), "modeling.py": b"raise SystemExit(9)"})
    assert "no readable safetensors" in client.load(f"hf-hub:{repo[0]}") and not trap.exists()
    assert not any("modeling.py" in path for path in hub.asked)


# --- the commands


def test_push_then_pull_is_a_round_trip(hub, checkpoint, client, tmp_path):
    hub.large = 4000  # the weights go the way of large files, the rest does not
    code, out, err = client("push", f"local-dir:{checkpoint}", "--repo", "lab/mine")
    assert code == 0, err
    commit, held = hub.repos["lab/mine"][-1]
    assert {f: held[f] for f in FILES} == {f: (checkpoint / f).read_bytes() for f in FILES}
    assert set(held) == {*FILES, ".gitattributes"}, "the three files, and no others"
    assert f"hf-hub:lab/mine@{commit}" in out and any("/lfs/" in p for p in hub.asked)

    code, out, err = client("pull", "lab/mine", "--out", str(tmp_path / "got"))
    assert code == 0, err
    assert commit in out and {p.name for p in (tmp_path / "got").iterdir()} == FILES
    assert not any(p.is_symlink() for p in (tmp_path / "got").iterdir())
    code, _, err = client("pull", "lab/mine", "--out", str(tmp_path / "got"))
    assert code == 2 and "exists" in err

    before = len(hub.repos["lab/mine"])
    code, out, _ = client("push", f"local-dir:{checkpoint}", "--repo", "lab/mine")
    assert code == 0 and "nothing was changed" in out and len(hub.repos["lab/mine"]) == before


def test_pull_sees_that_a_branch_moved_and_load_does_not_ask(hub, repo, client):
    assert client("pull", repo[0])[0] == 0
    moved = hub.commit(repo[0], {"README.md": b"# newer\n"})
    assert client.load(f"hf-hub:{repo[0]}").endswith("# card"), "the cache is asked first"
    assert moved in client("pull", repo[0])[1]
    assert client.load(f"hf-hub:{repo[0]}").endswith("# newer")


def test_a_pull_request_in_place_of_a_change(hub, repo, checkpoint, client):
    hub.commit(repo[0], {"README.md": b"# older\n"})
    code, out, err = client("push", f"local-dir:{checkpoint}", "--repo", repo[0], "--create-pr")
    assert code == 0, err
    assert "/discussions/1" in out and "README.md          changed" in out and "config.json        same" in out


@pytest.mark.parametrize(("fault", "word"), [("readonly", "403"), ("moved", "412"), ("corrupt", "other bytes")])
def test_a_push_that_fails_says_why(hub, repo, checkpoint, client, fault, word):
    hub.commit(repo[0], {"README.md": b"# older\n"})
    before = len(hub.repos[repo[0]])
    match fault:
        case "readonly":
            hub.readonly = True
        case "moved":
            hub.moved_by, before = {"README.md": b"# somebody else's\n"}, before + 1
        case "corrupt":
            hub.corrupt, before = True, before + 1
    code, _, err = client("push", f"local-dir:{checkpoint}", "--repo", repo[0])
    assert code == 2 and word in err, err
    assert len(hub.repos[repo[0]]) == before, "nothing else was published"


def test_a_hub_that_is_down_is_said_to_be_down(checkpoint, another, tmp_path):
    client = another(tmp_path / "home", endpoint="http://127.0.0.1:9")
    code, _, err = client("push", f"local-dir:{checkpoint}", "--repo", "lab/net")
    assert code == 2 and "cannot be reached" in err


def test_what_is_damaged_or_has_no_card_is_not_published(hub, client, tmp_path):
    bare = zoo.save(zoo.create_model("ststnet"), tmp_path / "bare", classes=MEGC_CLASSES, card="")
    code, _, err = client("push", f"local-dir:{bare}", "--repo", "lab/bare")
    assert code == 2 and "has no card" in err
    (bare / "model.safetensors").write_bytes(b"torn")
    code, _, err = client("push", f"local-dir:{bare}", "--repo", "lab/bare")
    assert code == 2 and "damaged" in err and "lab/bare" not in hub.repos


def test_an_interrupted_download_goes_on_where_it_stopped(hub, repo, client):
    hub.cut_after = len(hub.repos[repo[0]][-1][1]["model.safetensors"]) // 2
    code, _, err = client("pull", repo[0])
    if code:  # the client gave up: the same command goes on
        code, _, err = client("pull", repo[0])
    assert code == 0, err
    assert hub.cut_after is None and client.load(f"hf-hub:{repo[0]}").startswith("ok")
