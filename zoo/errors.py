"""What the zoo raises when the input, and not the code, is at fault.

The command prints these as one or two lines and leaves with exit code 2; in a program they are ordinary exceptions.
A message names what came, what was wanted, and what to do.
"""

from __future__ import annotations


class ZooError(ValueError):
    """Base of every error that a user can mend."""


class UnknownName(ZooError, KeyError):
    """A model, checkpoint or option of that name does not exist; the message lists the nearest names."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])


class WeightError(ZooError):
    """A checkpoint is damaged, tampered with, or does not fit the model it is loaded into."""


class MediaError(ZooError):
    """A video, frame folder or picture cannot be read, or is too short to hold an expression."""


class FaceError(ZooError):
    """No face, or no stable face, was found where one is needed."""


class DataError(ZooError):
    """A data set on disk is not in the layout that its reader expects."""


class ProtocolError(ZooError):
    """A split leaks, a fold is missing, or a sample would be scored twice."""


class MissingExtra(ZooError, ImportError):
    """An optional dependency is not installed."""


# With pip, facenet-pytorch's stale pins would drag torch back by years, hence its own line.
_INSTALL = {"faces": "pip install --no-deps facenet-pytorch"}


def missing_extra(extra: str, package: str, purpose: str) -> MissingExtra:
    """Build the error for a missing optional dependency, with the one command that installs it."""
    command = _INSTALL.get(extra, f"pip install 'au-graph-zoo[{extra}]'")
    return MissingExtra(
        f"{purpose} needs {package}, which is not installed: run `{command}` (or `uv run --extra {extra} …`)"
    )
