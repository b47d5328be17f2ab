"""Names to builders. Listing needs no torch: the files of ``zoo/models`` are read as text, imported only to build.

A model is a function in ``zoo/models/<family>.py`` decorated with :func:`register`; its name is the function's name, its
keyword arguments are its configuration. Weights are ``arch.tag`` and live in ``checkpoints/`` (see :mod:`zoo.weights`).
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import UnknownName, ZooError

if TYPE_CHECKING:
    from zoo.models._base import ZooModel

_MODELS = Path(__file__).parent / "models"
Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """One registered architecture."""

    name: str
    module: str  # where its builder lives
    summary: str  # first line of the builder's docstring


_REGISTERED: dict[str, Callable[..., Any]] = {}  # filled by the decorator as model files are imported


def register(builder: Builder) -> Builder:
    """Make a builder available under its own name. A name that another module already holds is refused."""
    name = builder.__name__
    held = _REGISTERED.get(name)
    home = held.__module__ if held else (_packaged()[name].module if name in _packaged() else builder.__module__)
    if home != builder.__module__:
        raise ZooError(f"a model named {name!r} is already registered by {home}; choose another function name")
    for parameter in list(inspect.signature(builder).parameters.values()):
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or parameter.default is inspect.Parameter.empty:
            raise ZooError(
                f"builder {name}: argument {parameter.name!r} must be keyword-only with a default, "
                f"since the arguments are the model's configuration"
            )
    _REGISTERED[name] = builder
    return builder


@cache
def _packaged() -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for path in sorted(_MODELS.glob("[!_]*.py")):
        module = f"zoo.models.{path.stem}"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(d, ast.Name) and d.id == "register" for d in node.decorator_list
            ):
                if node.name in entries:
                    raise ZooError(f"{module} registers {node.name!r}, which {entries[node.name].module} already holds")
                entries[node.name] = Entry(node.name, module, (ast.get_docstring(node) or "").split("\n")[0])
    return entries


def entries() -> dict[str, Entry]:
    """All architectures by name, without importing any of the packaged ones."""
    own = {
        n: Entry(n, b.__module__, (b.__doc__ or "").split("\n")[0])
        for n, b in _REGISTERED.items()
        if n not in _packaged()
    }
    return dict(sorted({**_packaged(), **own}.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names that match a shell pattern.

    Args:
        pattern: a glob such as ``"*net"`` or ``"rcn_*"``; matched against the architecture and, for weights, ``arch.tag``.
        pretrained: list weights (``arch.tag``) in place of architectures.
    """
    if pretrained:
        from zoo.weights import index

        names: Iterable[str] = sorted(index(), key=_natural)
        return [n for n in names if fnmatchcase(n, pattern) or fnmatchcase(n.partition(".")[0], pattern)]
    return [n for n in entries() if fnmatchcase(n, pattern)]


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a misspelt name: with the nearest ones, or all of them where none is near."""
    known = list(known)
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known) or 'none'}"
    return UnknownName(f"there is no {kind} {name!r}; {hint}")


def create_model(name: str, **kwargs: Any) -> ZooModel:
    """Build an architecture with fresh weights.

    Args:
        name: an architecture, as :func:`list_models` gives it.
        kwargs: the builder's keyword arguments, e.g. ``num_classes``; every builder takes ``input_spec``.

    Raises:
        UnknownName: no such architecture, or it takes no such argument.
    """
    if name not in _REGISTERED:
        if name not in _packaged():
            if "." in name or ":" in name or "/" in name:
                raise UnknownName(f"{name!r} names weights, not an architecture: zoo.load({name!r}) loads them")
            raise unknown("model", name, entries())
        import_module(_packaged()[name].module)
    builder = _REGISTERED[name]
    signature = inspect.signature(builder)
    for key in kwargs:
        if key not in signature.parameters:
            raise unknown(f"argument of model {name}", key, signature.parameters)
    bound = signature.bind(**kwargs)
    bound.apply_defaults()
    model: ZooModel = builder(**kwargs)
    model.arch = name
    model.config = {key: value for key, value in bound.arguments.items() if key != "input_spec"}
    return model
