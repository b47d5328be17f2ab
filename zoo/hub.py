"""Transport to and from a model hub. The only importer of huggingface_hub; what arrives is verified in :mod:`zoo.weights`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from zoo.errors import WeightError, missing_extra

_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True)
class Pushed:
    """What a push left on the hub."""

    url: str  # of the commit, or of the pull request
    commit: str
    created: bool  # whether the repository is new
    changes: Mapping[str, str]  # file -> "new", "changed" or "same"


def fetch(name: str, *, files: Sequence[str], refresh: bool = False) -> Path:
    """A folder with ``files`` of a hub repository, all of one commit: from the local cache where it holds them, else downloaded.

    Only the named files are asked for, so a repository cannot place anything else in the cache. A download that was cut off goes
    on where it stopped. ``HF_HUB_OFFLINE=1`` and ``HF_ENDPOINT`` are honoured.

    Args:
        name: ``owner/name`` or ``owner/name@revision`` (a branch, tag or commit).
        files: file names within the repository.
        refresh: ask the hub where the branch stands now, though the cache knows where it stood.

    Raises:
        WeightError: no such repository or revision, or neither cached nor reachable.
        MissingExtra: huggingface_hub is not installed.
    """
    if not _NAME.fullmatch(name):
        raise WeightError(f"hf-hub:{name} is no repository; wanted hf-hub:owner/name or hf-hub:owner/name@revision")
    client = _client("loading from a model hub")
    errors = client.errors
    repo, _, revision = name.partition("@")
    for local in (False,) if refresh else (True, False):  # the cache first: no network where nothing has to be asked
        try:
            first = Path(client.hf_hub_download(repo, files[0], revision=revision or None, local_files_only=local))
            # a branch may move between two files: the rest is asked of the commit that the first came from
            commit = first.parent.name
            for file in files[1:]:
                client.hf_hub_download(repo, file, revision=commit, local_files_only=local)
            return first.parent
        except errors.LocalEntryNotFoundError as error:
            if not local:
                raise WeightError(
                    f"hf-hub:{name} is not in the local cache and the hub cannot be reached; "
                    f"connect once, or give a folder as local-dir:PATH"
                ) from error
        except errors.EntryNotFoundError as error:
            raise WeightError(
                f"hf-hub:{name} holds no zoo checkpoint ({', '.join(files)} are wanted): {_first_line(error)}"
            ) from error
        except _faults(client) as error:
            raise WeightError(f"hf-hub:{name} cannot be fetched: {_first_line(error)}") from error
    raise AssertionError("unreachable: the second round returns or raises")


def push(
    folder: Path, repo: str, *, files: Sequence[str], message: str, private: bool = False, create_pr: bool = False
) -> Pushed:
    """Upload ``files`` of a folder as one commit, and read them back.

    The commit is made on top of the one that was compared with, so that a change by somebody else in between is refused and
    not overwritten.

    Args:
        folder: a checkpoint.
        repo: ``owner/name``; made if it does not exist.
        files: the files to upload, and no others.
        message: of the commit.
        private: whether a repository that is made is private.
        create_pr: propose the change as a pull request in place of making it.

    Raises:
        WeightError: not logged in, no permission, the hub cannot be reached, somebody else changed the repository meanwhile, or
            what came back differs from what was sent.
        MissingExtra: huggingface_hub is not installed.
    """
    if not _NAME.fullmatch(repo) or "@" in repo:
        raise WeightError(f"{repo!r} is no repository; wanted owner/name")
    client = _client("publishing on a model hub")
    api = client.HfApi()
    with _explained(client, repo):
        head = _head(client, api, repo)
        created = head is None
        if head is None:
            api.create_repo(repo, private=private, exist_ok=False)
            head = _head(client, api, repo)
        changes = {file: _change(client, folder / file, repo, file, head) for file in files}
        if not any(change != "same" for change in changes.values()):
            return Pushed(f"{api.endpoint}/{repo}", head or "", created, changes)
        operations = [
            client.CommitOperationAdd(path_in_repo=f, path_or_fileobj=str(folder / f))
            for f in files
            if changes[f] != "same"
        ]
        info = api.create_commit(
            repo, operations, commit_message=message, create_pr=create_pr, parent_commit=head or None, num_threads=1
        )
        for file in files:
            if changes[file] != "same" and _change(client, folder / file, repo, file, info.oid) != "same":
                raise WeightError(
                    f"{file} came back from {repo}@{info.oid[:12]} with other bytes than were sent; push again, and do not "
                    f"give that revision to anybody"
                )
    return Pushed(str(info.pr_url or info.commit_url), info.oid, created, changes)


def _client(purpose: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise missing_extra("hub", "huggingface_hub", purpose) from error
    return huggingface_hub


def _faults(client: Any) -> tuple[type[Exception], ...]:
    """What goes wrong between here and a hub: its refusals, the network below them, and the disk."""
    # its bases are the error of whatever HTTP library the client stands on today, and OSError
    return client.errors.HfHubHTTPError, *client.errors.HfHubHTTPError.__bases__, ValueError


def _head(client: Any, api: Any, repo: str) -> str | None:
    """The newest commit of a repository; None where there is no repository."""
    try:
        sha: str | None = api.model_info(repo).sha
        return sha
    except client.errors.RepositoryNotFoundError:
        return None


def _change(client: Any, path: Path, repo: str, file: str, revision: str | None) -> str:
    """Whether a file is new, changed or the same on the hub; the hub's copy is read into a folder that is thrown away."""
    if not revision:
        return "new"
    with tempfile.TemporaryDirectory(prefix="zoo-push-") as there:
        try:
            copy = client.hf_hub_download(repo, file, revision=revision, local_dir=there, force_download=True)
        except client.errors.EntryNotFoundError:
            return "new"
        return "same" if _sha256(Path(copy)) == _sha256(path) else "changed"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@contextmanager
def _explained(client: Any, repo: str) -> Iterator[None]:
    errors = client.errors
    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise WeightError("the hub wants to know who you are: run `hf auth login` once, or set HF_TOKEN") from error
    except errors.OfflineModeIsEnabled as error:
        raise WeightError("HF_HUB_OFFLINE is set: nothing can be published; unset it") from error
    except errors.RepositoryNotFoundError as error:
        raise WeightError(f"{repo} does not exist, or you may not see it: {_first_line(error)}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        way_out = {
            401: "log in by `hf auth login`, or set HF_TOKEN",
            403: "your token may not write there: ask its owner, use a token with the role 'write', or --create-pr",
            409: "somebody else is changing it; look at it, then push again",
            412: "somebody else changed it meanwhile; look at it, then push again",
        }.get(status, "nothing was published; try again")
        raise WeightError(f"{repo} refused the push ({status}: {_first_line(error)}); {way_out}") from error
    except _faults(client) as error:
        if isinstance(error, WeightError):
            raise
        raise WeightError(f"{repo}: the hub cannot be reached ({_first_line(error)}); nothing was published") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
