"""A server of Weights & Biases on loopback: as much of its protocol as ``wandb sweep``, ``wandb agent``, a run and ``wandb sync`` speak.

The search is wandb's own (the package ``sweeps``, which its server runs too). Everything that a run sends is kept, to be looked at.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import yaml

ENTITY = "people"
KEY = "0" * 40  # as long as a key must be


@dataclass
class Run:
    """What is known of a run."""

    name: str
    sweep: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    display: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    drawn: dict[str, Any] = field(default_factory=dict)  # by the search
    exitcode: int | None = None


class Server:
    """Answers on a port of loopback for as long as the ``with`` lasts.

    Args:
        stop_after: may be set: the agent is told to stop each run that has logged so many rows, as early termination does.
    """

    def __init__(self) -> None:
        self.stop_after: int | None = None
        self.sweeps: dict[str, str] = {}
        self.runs: dict[str, Run] = {}
        self.store: dict[str, bytes] = {}  # uploaded files: ``run/NAME/…``, ``artifact/ID/…``
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []  # operations, in order
        self.unknown: list[str] = []
        self.projects: list[str | None] = []  # of the sweeps
        self._order: list[tuple[str, str, dict[str, Any]]] = []  # sweep, run, parameters
        self._agents: dict[str, str] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Server:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def environment(self) -> dict[str, str]:
        """For the processes that are to speak to it."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_ENTITY": ENTITY}

    def command(self, folder: Path, *arguments: object, **environment: str) -> str:
        """Run the command ``wandb`` against this server; returns what it said."""
        said = subprocess.run(
            [str(Path(sys.executable).with_name("wandb")), *map(str, arguments)], cwd=folder, timeout=600, check=False,
            env={**os.environ, **self.environment(), **environment}, capture_output=True, text=True,
        )  # fmt: skip
        assert said.returncode == 0, said.stderr
        return said.stdout + said.stderr

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """What GraphQL says."""
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else query.strip()[:40]
        with self._lock:
            self.asked.append(name)
            method = getattr(self, f"_on_{name}", None)
            if method is None:
                self.unknown.append(f"{name}: {query}")
                return {}
            return dict(method(given))

    def stream(self, run: str, body: dict[str, Any]) -> dict[str, Any]:
        """The file stream of a run: rows of its history, its summary, its end."""
        with self._lock:
            held = self.runs[run]
            for name, part in (body.get("files") or {}).items():
                if name == "wandb-history.jsonl":
                    held.history += [json.loads(line) for line in part["content"]]
                elif name == "wandb-summary.json":
                    held.summary = json.loads(part["content"][-1])
            if body.get("complete"):
                held.exitcode = body.get("exitcode")
            return {}

    def _on_Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": _VIEWER}

    def _on_ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _on_UpsertSweep(self, given: dict[str, Any]) -> dict[str, Any]:
        name = f"sweep{len(self.sweeps)}"
        self.sweeps[name] = given["config"]
        self.projects.append(given["projectName"])
        sweep = {"name": name, "project": _project(given["projectName"] or "uncategorized")}
        return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}

    def _on_SweepWithRuns(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": "1", "name": given["sweep"], "config": self.sweeps[given["sweep"]], "runs": {"edges": []}}
        return {"project": {"sweep": sweep}}

    def _on_CreateAgent(self, given: dict[str, Any]) -> dict[str, Any]:
        name = f"agent{len(self._agents)}"
        self._agents[name] = given["sweep"]
        return {"createAgent": {"agent": {"id": name}}}

    def _on_Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep, running = self._agents[given["id"]], json.loads(given["runState"] or "{}")
        commands: list[dict[str, Any]] = []
        for name in running:
            if self.stop_after and name in self.runs and len(self.runs[name].history) >= self.stop_after:
                commands.append({"type": "stop", "run_id": name})
        if not running:
            commands.append(self._next(sweep))
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}

    def _next(self, sweep: str) -> dict[str, Any]:
        import sweeps

        config, before = yaml.safe_load(self.sweeps[sweep]), [p for s, _, p in self._order if s == sweep]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            past = [sweeps.SweepRun(state="finished", config=p) for p in before]
            found = sweeps.next_run(config, past)
        if found is None:
            return {"type": "exit"}
        parameters = {name: {"value": _plain(entry["value"])} for name, entry in found.config.items()}
        name = f"{sweep}run{len(before)}"
        self._order.append((sweep, name, parameters))
        return {"type": "run", "run_id": name, "program": config["program"], "args": parameters}

    def _on_RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"model": {**_project(given["project"]), "bucket": None}}

    def _on_UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        new = given["name"] not in self.runs
        run = self.runs.setdefault(given["name"], Run(given["name"]))
        run.drawn = {k: v["value"] for _, name, drawn in self._order if name == run.name for k, v in drawn.items()}
        fields = {"sweep": "sweep", "group": "groupName", "job_type": "jobType", "project": "project", "display": "displayName"}  # fmt: skip
        for mine, theirs in fields.items():
            if given.get(theirs):
                setattr(run, mine, given[theirs])
        if given.get("config"):
            run.config = {k: v.get("value") for k, v in json.loads(given["config"]).items()}
        if given.get("summaryMetrics"):
            run.summary = json.loads(given["summaryMetrics"])
        bucket = {
            "id": run.name, "name": run.name, "displayName": run.display, "description": None, "config": "{}",
            "sweepName": run.sweep or None, "project": _project(run.project), "historyLineCount": len(run.history),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}

    def _on_CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": f, "uploadUrl": self._place(f"run/{given['run']}/{f}")} for f in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _on_MarkRunFilesUploaded(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"markRunFilesUploaded": {"success": True}}

    def _on_OrganizationCoreWeaveOrganizationID(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def _on_XXHashDigestsEnabled(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"xxhashDigestsEnabled": False}}

    def _on_FetchArtifactDigestAlgorithm(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": None}

    def _on_CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        wanted, name = given["input"], f"artifact{len(self.artifacts)}"
        self.artifacts[name] = {**wanted, "state": "PENDING"}
        artifact = {"id": name, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def _on_CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"createArtifactManifest": {"artifactManifest": self._manifest(given["artifactID"])}}

    def _on_UpdateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(given["artifactManifestID"])}}

    def _on_CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        edges = []
        for wanted in given["input"]["artifactFiles"]:
            name = wanted["artifactID"]
            place = self._place(f"artifact/{name}/{wanted['name']}")
            node = {"storagePath": wanted["name"], "uploadUrl": place, "uploadHeaders": [], "artifact": {"id": name}}
            edges.append({"node": {**node, "uploadMultipartUrls": None}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _on_CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        artifact = self.artifacts[given["artifactID"]]
        artifact["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": artifact["digest"]}}}

    def _manifest(self, name: str) -> dict[str, Any]:
        place = self._place(f"artifact/{name}/manifest")
        return {"id": name, "file": {"id": name, "uploadUrl": place, "uploadHeaders": []}}

    def _place(self, path: str) -> str:
        return f"{self.url}/store/{quote(path)}"


_VIEWER = {
    "id": "1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": {"edges": []},
}  # fmt: skip


def _project(name: str) -> dict[str, Any]:
    return {"id": "1", "name": name, "entity": {"id": "1", "name": ENTITY}}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body, content = self._body(), {}
            if self.path == "/graphql":
                asked = json.loads(body)
                content = {"data": server.answer(asked["query"], asked.get("variables") or {})}
            elif found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
                content = server.stream(found[1], json.loads(body))
            elif not self.path.startswith("/sdk/otel/"):  # how wandb itself is doing
                server.unknown.append(self.path)
            self._say(json.dumps(content).encode())

        def do_PUT(self) -> None:
            server.store[unquote(self.path.removeprefix("/store/"))] = self._body()
            self._say(b"")

        def do_GET(self) -> None:
            server.unknown.append(self.path)
            self._say(b"{}")

        def _body(self) -> bytes:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                return gzip.decompress(data)
            return data

        def _say(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
