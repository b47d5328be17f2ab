"""The real hub client against a server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import zoo
from zoo.types import MEGC_CLASSES

pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    folder: Path
    asked: list[str]

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        owner, _, rest = self.path.lstrip("/").partition("/resolve/")
        path = self.folder / rest.partition("/")[2]
        if owner != "lab/net" or not rest or not path.is_file():
            content, status = b'{"error": "not found"}', 404
        else:
            content, status = path.read_bytes(), 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hash(content) & 0xFFFFFFFF:x}"')
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound" if owner == "lab/net" else "RepoNotFound")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    torch.manual_seed(0)
    folder = zoo.save(zoo.create_model("ststnet"), tmp_path / "served", classes=MEGC_CLASSES, card="# card")
    handler = type("Handler", (Hub,), {"folder": folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()


def load(name: str, endpoint: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the client reads its environment when it is imported."""
    code = (
        "import sys, zoo\ntry:\n    m = zoo.load(sys.argv[1]); print(float(m.fc.weight.sum()), m.card)\n"
        "except zoo.ZooError as e:\n    print(type(e).__name__, e); sys.exit(2)"
    )
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("HF_")}, "HF_ENDPOINT": endpoint, "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **env,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", code, name], env=environment, capture_output=True, text=True, timeout=120
    )


def test_download_then_cache_then_offline(hub):
    handler, endpoint, tmp = hub
    first = load(f"hf-hub:lab/net@{COMMIT}", endpoint, tmp / "home")
    assert first.returncode == 0, first.stderr
    assert "# card" in first.stdout
    files = {p.rpartition("/")[2] for p in handler.asked if "/resolve/" in p}
    assert files == {"config.json", "model.safetensors", "README.md"}, "nothing but the three named files is asked for"
    handler.asked.clear()
    second = load(f"hf-hub:lab/net@{COMMIT}", endpoint, tmp / "home", HF_HUB_OFFLINE="1")
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert handler.asked == []


def test_faults_are_named(hub):
    handler, endpoint, tmp = hub
    cases = {"hf-hub:lab/other": "cannot be fetched", "hf-hub:../../etc": "no repository"}
    for name, word in cases.items():
        answer = load(name, endpoint, tmp / "home")
        assert answer.returncode == 2, answer.stderr
        assert word in answer.stdout
    offline = load("hf-hub:lab/net", endpoint, tmp / "empty", HF_HUB_OFFLINE="1")
    assert offline.returncode == 2
    assert "not in the local cache" in offline.stdout
    (handler.folder / "model.safetensors").unlink()
    missing = load("hf-hub:lab/net", endpoint, tmp / "home2")
    assert missing.returncode == 2
    assert "holds no zoo checkpoint" in missing.stdout


def test_a_file_changed_on_the_hub_is_refused(hub):
    """An entry of the index with a repository: what arrives must be the file that was listed."""
    from zoo.weights import sha256

    handler, endpoint, tmp = hub
    shelf = tmp / "shelf"
    shelf.mkdir()
    files = {
        f: {"bytes": (handler.folder / f).stat().st_size, "sha256": sha256(handler.folder / f)}
        for f in ("config.json", "model.safetensors", "README.md")
    }
    entry = {"arch": "ststnet", "files": files, "repo": "lab/net", "revision": COMMIT}
    (shelf / "index.json").write_text(json.dumps({"format": 1, "weights": {"ststnet.far": entry}}))
    assert load("ststnet.far", endpoint, tmp / "home", ZOO_CHECKPOINTS=str(shelf)).returncode == 0
    (handler.folder / "README.md").write_text("# cord")
    changed = load("ststnet.far", endpoint, tmp / "home3", ZOO_CHECKPOINTS=str(shelf))
    assert changed.returncode == 2
    assert "README.md is not the published file" in changed.stdout
