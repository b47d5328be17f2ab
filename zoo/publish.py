"""Checkpoints on a model hub: ``zoo push`` and ``zoo pull``."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import WeightError, ZooError
from zoo.hub import Pushed, fetch
from zoo.hub import push as upload
from zoo.weights import CARD, CONFIG, WEIGHTS, find, load, read_config, sha256, verify

FILES = (CONFIG, WEIGHTS, CARD)


def push(name: str, repo: str, *, private: bool = False, create_pr: bool = False) -> Pushed:
    """Publish a checkpoint: loaded strictly first, then its three files as one commit, then read back.

    Args:
        name: weights of the zoo, or ``local-dir:PATH``.
        repo: ``owner/name``.
        private: whether a repository that is made is private.
        create_pr: propose it as a pull request.

    Raises:
        WeightError: the checkpoint is damaged or has no card; and as :func:`zoo.hub.push`.
    """
    folder, entry = find(name)
    if entry is not None:
        verify(folder, entry)
    load(name)
    card = folder / CARD
    if not card.is_file() or not card.read_text(encoding="utf-8").strip():
        raise WeightError(
            f"{folder} has no card ({CARD}); say there what the weights were trained on and under which licence"
        )
    config = read_config(folder)
    return upload(
        folder, repo, files=FILES, private=private, create_pr=create_pr,
        message=f"{name.rpartition('/')[2].removeprefix('local-dir:')} ({config['arch']}) from au-graph-zoo",
    )  # fmt: skip


def pull(name: str, out: str | Path | None = None) -> tuple[str, Path]:
    """Fetch a checkpoint from a hub, as it stands there now, and load it strictly.

    Args:
        name: ``owner/name`` or ``owner/name@revision``.
        out: also copy it into this folder, whole or not at all.

    Returns:
        The commit it came from, and the folder that holds it.

    Raises:
        WeightError: as :func:`zoo.hub.fetch` and :func:`zoo.weights.load`. ZooError: ``out`` exists.
    """
    target = Path(out).expanduser() if out is not None else None
    if target is not None and target.exists():
        raise ZooError(f"{target} exists; choose another folder, nothing was overwritten")
    folder = fetch(name.removeprefix("hf-hub:"), files=FILES, refresh=True)
    load(f"local-dir:{folder}")
    commit = folder.name
    if target is None:
        return commit, folder
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        for file in FILES:
            shutil.copyfile(
                folder / file, staging / file
            )  # the cache holds links; what is copied is what they point to
        staging.chmod(0o755)
        staging.rename(target)
    except OSError as error:
        raise ZooError(f"cannot write {target}: {error.strerror}; choose another folder") from error
    return commit, target


def push_command(argv: Sequence[str]) -> int:
    """``zoo push``."""
    parser = argparse.ArgumentParser(
        prog="zoo push",
        description="Publish a checkpoint on a model hub: its configuration, weights and card, as one commit.",
    )
    parser.add_argument(
        "name", help="weights of `zoo models --pretrained`, or local-dir:PATH (as `zoo train` writes it)"
    )
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="repository; made if it does not exist")
    parser.add_argument("--private", action="store_true", help="make it private, if it is made")
    parser.add_argument("--create-pr", action="store_true", help="propose the change as a pull request")
    given = parser.parse_args(argv)
    done = push(given.name, given.repo, private=given.private, create_pr=given.create_pr)
    for file, change in done.changes.items():
        print(f"{file:18} {change}")
    if all(change == "same" for change in done.changes.values()):
        print(f"{given.repo} holds these files already; nothing was changed")
    else:
        print(f"published {done.url}")
    print(f'zoo.load("hf-hub:{given.repo}@{done.commit}") opens exactly this revision')
    return 0


def pull_command(argv: Sequence[str]) -> int:
    """``zoo pull``."""
    parser = argparse.ArgumentParser(
        prog="zoo pull",
        description="Fetch a checkpoint from a model hub into the local cache, and check that it loads.",
    )
    parser.add_argument("name", metavar="OWNER/NAME[@REVISION]", help="repository, and a branch, tag or commit of it")
    parser.add_argument("--out", type=Path, metavar="DIR", help="copy the checkpoint into this folder too")
    given = parser.parse_args(argv)
    commit, folder = pull(given.name, given.out)
    config, repo = read_config(folder), given.name.removeprefix("hf-hub:").partition("@")[0]
    print(
        f"{repo}@{commit}: {config['arch']}, {len(config['classes'])} classes, weights sha256 {sha256(folder / WEIGHTS)[:12]}…"
    )
    opened = f"local-dir:{folder}" if given.out else f"hf-hub:{repo}@{commit}"
    print(f'zoo.load("{opened}") opens it')
    return 0
