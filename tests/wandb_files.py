"""Reads the files of an offline wandb run, to see what would go up.

The format is a LevelDB log: blocks of 32 KiB, records in pieces (7 bytes of checksum, length and kind before each), after a header
of 7 bytes; every record is a protocol buffer that wandb declares.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def raw(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    assert data[:4] == b":W&B", "not a file of wandb"
    at, parts = 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # a rest too small for a header is padding
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        piece = data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (FULL, LAST):
            yield parts + piece
            parts = b""
        elif kind in (FIRST, MIDDLE):
            parts += piece
        else:
            assert kind == 0 and not length, f"unknown piece {kind}"
            at += BLOCK - at % BLOCK


def read(path: Path) -> dict[str, Any]:
    """``run`` (name, group, job_type), ``config``, ``history`` (rows), ``summary``, ``files``, ``artifacts``; nested keys joined by a slash.

    The service behind wandb writes in its own time: ``wandb.teardown()`` first.
    """
    from wandb.proto import wandb_internal_pb2 as pb

    out: dict[str, Any] = {"run": {}, "config": {}, "history": [], "summary": {}, "files": [], "artifacts": []}
    for blob in raw(path):
        record = pb.Record()
        record.ParseFromString(blob)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            out["run"] = {
                "id": record.run.run_id,
                "name": record.run.display_name,
                "group": record.run.run_group,
                "job_type": record.run.job_type,
            }
            out["config"] |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
        elif kind == "config":
            out["config"] |= {u.key: json.loads(u.value_json) for u in record.config.update}
        elif kind == "history":
            out["history"].append(
                {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
            )
        elif kind == "summary":
            out["summary"] |= {u.key or "/".join(u.nested_key): json.loads(u.value_json) for u in record.summary.update}
        elif kind == "files":
            out["files"] += [f.path for f in record.files.files]
        elif kind == "artifact":
            files = {entry.path: entry.local_path for entry in record.artifact.manifest.contents}
            out["artifacts"].append({"name": record.artifact.name, "type": record.artifact.type, "files": files})
    return out


def table(folder: Path, path: str) -> dict[str, Any]:
    """A table of the run, by the path under which its history names it."""
    return dict(json.loads((folder / "files" / path).read_text()))
