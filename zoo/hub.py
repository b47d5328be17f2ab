"""Transport to and from a model hub. The only importer of huggingface_hub; what arrives is verified in :mod:`zoo.weights`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import WeightError, missing_extra

_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def fetch(name: str, *, files: Sequence[str]) -> Path:
    """A folder with ``files`` of a hub repository: from the local cache where it holds that revision, else downloaded.

    Only the named files are asked for, so a repository cannot place anything else in the cache. ``HF_HUB_OFFLINE=1`` and
    ``HF_ENDPOINT`` are honoured.

    Args:
        name: ``owner/name`` or ``owner/name@revision`` (a branch, tag or commit).
        files: file names within the repository.

    Raises:
        WeightError: no such repository or revision, or neither cached nor reachable.
        MissingExtra: huggingface_hub is not installed.
    """
    if not _NAME.fullmatch(name):
        raise WeightError(f"hf-hub:{name} is no repository; wanted hf-hub:owner/name or hf-hub:owner/name@revision")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise missing_extra("hub", "huggingface_hub", "loading from a model hub") from error
    repo, _, revision = name.partition("@")
    for local in (True, False):  # the cache first: no network where nothing has to be asked
        try:
            paths = [
                Path(hf_hub_download(repo, file, revision=revision or None, local_files_only=local)) for file in files
            ]
            return paths[0].parent
        except LocalEntryNotFoundError as error:
            if not local:
                raise WeightError(
                    f"hf-hub:{name} is not in the local cache and the hub cannot be reached; "
                    f"connect once, or give a folder as local-dir:PATH"
                ) from error
        except EntryNotFoundError as error:
            raise WeightError(
                f"hf-hub:{name} holds no zoo checkpoint ({', '.join(files)} are wanted): {_first_line(error)}"
            ) from error
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise WeightError(f"hf-hub:{name} cannot be fetched: {_first_line(error)}") from error
    raise AssertionError("unreachable: the second round returns or raises")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
