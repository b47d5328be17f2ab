"""A model hub on loopback, as far as its client asks: repositories with commits, large files, permissions, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Hub:
    """What the server knows. ``repos[name]`` is a list of (commit, files), oldest first."""

    def __init__(self) -> None:
        self.repos: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.blobs: dict[str, bytes] = {}  # large files by sha256
        self.asked: list[str] = []
        self.readonly = False
        self.cut_after: int | None = None  # bytes of the next large body that arrive before the line breaks
        self.corrupt = False  # store other bytes than were sent
        self.large = 1 << 30  # bytes from which a file goes the way of large files
        self.moved_by: dict[str, bytes] | None = None  # somebody else's commit that arrives just before the next one
        self.pull_requests = 0

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        history = self.repos.setdefault(repo, [])
        merged = {**(history[-1][1] if history else {}), **files}
        name = hashlib.sha1(repr((len(history), sorted(merged.items()))).encode()).hexdigest()
        history.append((name, merged))
        return name

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        history = self.repos.get(repo)
        if not history:
            return None
        if revision == "main":
            return history[-1]
        return next((c for c in history if c[0] == revision), None)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def _json(self, content: object, status: int = 200, **headers: str) -> None:
        self._bytes(json.dumps(content).encode(), status, **headers)

    def _bytes(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            if self.hub.cut_after is not None and len(body) > self.hub.cut_after:
                self.wfile.write(body[: self.hub.cut_after])
                self.hub.cut_after, self.close_connection = None, True
                return
            self.wfile.write(body)

    def _missing(self, code: str) -> None:
        self._json({"error": "not found"}, 404, X_Error_Code=code)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.asked.append(self.path)
        path = urlsplit(self.path).path
        if "/resolve/" in path:
            repo, _, rest = path.lstrip("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
            if repo not in self.hub.repos:
                return self._missing("RepoNotFound")
            found = self.hub.files(repo, revision)
            if found is None:
                return self._missing("RevisionNotFound")
            if file not in found[1]:
                return self._missing("EntryNotFound")
            body = found[1][file]
            headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X_Repo_Commit": found[0]}
            if (wanted := self.headers.get("Range")) and self.command == "GET":
                start = int(wanted.removeprefix("bytes=").partition("-")[0])
                part = body[start:]
                return self._bytes(part, 206, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", **headers)
            return self._bytes(body, **headers)
        if path.startswith("/api/models/"):
            repo, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            found = self.hub.files(repo, revision or "main")
            if repo not in self.hub.repos:
                return self._missing("RepoNotFound")
            sha = found[0] if found else None
            return self._json(
                {"id": repo, "sha": sha, "siblings": [{"rfilename": f} for f in (found[1] if found else {})]}
            )
        return self._json({"error": "not found"}, 404)

    def do_PUT(self) -> None:
        self.hub.asked.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.blobs[self.path.rpartition("/")[2]] = body
        self._bytes(b"")

    def do_POST(self) -> None:
        self.hub.asked.append(self.path)
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        host = f"http://{self.headers['Host']}"
        if url.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if self.hub.readonly:
                return self._json({"error": "you may not"}, 403)
            self.hub.commit(name, {".gitattributes": b""})
            return self._json({"url": f"{host}/{name}"})
        if url.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if url.path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            return self._json({"transfer": "basic", "objects": [
                {**o, "actions": {"upload": {"href": f"{host}/lfs/{o['oid']}", "header": {}}}} for o in objects]})  # fmt: skip
        if "/preupload/" in url.path:
            files = json.loads(body)["files"]
            return self._json({"files": [
                {"path": f["path"], "uploadMode": "lfs" if f["size"] >= self.hub.large else "regular", "shouldIgnore": False}
                for f in files]})  # fmt: skip
        if "/commit/" in url.path:
            return self._commit(url, body, host)
        return self._json({"error": "not found"}, 404)

    def _commit(self, url, body: bytes, host: str) -> None:
        if self.hub.readonly:
            return self._json({"error": "you may not"}, 403)
        repo = url.path.removeprefix("/api/models/").partition("/commit/")[0]
        rows = [json.loads(line) for line in body.splitlines() if line.strip()]
        header = next(r["value"] for r in rows if r["key"] == "header")
        if self.hub.moved_by is not None:
            self.hub.commit(repo, self.hub.moved_by)
            self.hub.moved_by = None
        if header.get("parentCommit") not in (None, self.hub.repos[repo][-1][0]):
            return self._json({"error": "the branch has moved"}, 412)
        files = {r["value"]["path"]: base64.b64decode(r["value"]["content"]) for r in rows if r["key"] == "file"}
        files |= {r["value"]["path"]: self.hub.blobs[r["value"]["oid"]] for r in rows if r["key"] == "lfsFile"}
        if self.hub.corrupt:
            files = {path: content[:-1] + b"?" for path, content in files.items()}
        name = self.hub.commit(repo, files)
        answer = {"commitUrl": f"{host}/{repo}/commit/{name}", "commitOid": name}
        if parse_qs(url.query).get("create_pr"):
            self.hub.pull_requests += 1
            answer["pullRequestUrl"] = f"{host}/{repo}/discussions/{self.hub.pull_requests}"
        return self._json(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """The address of a running server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
