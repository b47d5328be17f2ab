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
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, overload

from zoo.errors import UnknownName, ZooError

if TYPE_CHECKING:
    from zoo.models._base import ZooNetwork

_MODELS = Path(__file__).parent / "models"
Builder = TypeVar("Builder", bound=Callable[..., Any])
Task = Literal["recognition", "action_units", "magnification", "spotting"]


@dataclass(frozen=True)
class Entry:
    """One registered architecture."""

    name: str
    module: str  # where its builder lives
    summary: str  # first line of the builder's docstring
    task: Task = "recognition"


_REGISTERED: dict[str, Callable[..., Any]] = {}  # filled by the decorator as model files are imported
_TASKS: dict[str, Task] = {}  # likewise


@overload
def register(builder: Builder) -> Builder: ...
@overload
def register(*, task: Task) -> Callable[[Builder], Builder]: ...
def register(builder: Any = None, *, task: Task = "recognition") -> Any:
    """Make a builder available under its own name. A name that another module already holds is refused.

    ``@register`` for what tells emotions; ``@register(task="spotting")`` and the like for what does something else.
    """
    if builder is None:
        return lambda found: register_as(found, task)
    return register_as(builder, task)


def register_as(builder: Builder, task: Task) -> Builder:
    """What :func:`register` does."""
    if task not in get_args(Task):
        raise ZooError(f"task is {task!r}; known: {', '.join(get_args(Task))}")
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
    _TASKS[name] = task
    return builder


def _registered_as(decorator: ast.expr) -> Task | None:
    """The task that a decorator gives a builder; None where it is not ours."""
    if isinstance(decorator, ast.Name) and decorator.id == "register":
        return "recognition"
    if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "register":
        return next((k.value.value for k in decorator.keywords if k.arg == "task"), "recognition")  # type: ignore[attr-defined]
    return None


@cache
def _packaged() -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for path in sorted(_MODELS.glob("[!_]*.py")):
        module = f"zoo.models.{path.stem}"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            task = next((t for d in node.decorator_list if (t := _registered_as(d))), None)
            if task:
                if node.name in entries:
                    raise ZooError(f"{module} registers {node.name!r}, which {entries[node.name].module} already holds")
                entries[node.name] = Entry(node.name, module, (ast.get_docstring(node) or "").split("\n")[0], task)
    return entries


def entries() -> dict[str, Entry]:
    """All architectures by name, without importing any of the packaged ones."""
    own = {
        n: Entry(n, b.__module__, (b.__doc__ or "").split("\n")[0], _TASKS[n])
        for n, b in _REGISTERED.items()
        if n not in _packaged()
    }
    return dict(sorted({**_packaged(), **own}.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def list_models(
    pattern: str = "*", *, pretrained: bool = False, task: Task | Literal["*"] = "recognition"
) -> list[str]:
    """Names that match a shell pattern.

    Args:
        pattern: a glob such as ``"*net"`` or ``"rcn_*"``; matched against the architecture and, for weights, ``arch.tag``.
        pretrained: list weights (``arch.tag``) in place of architectures.
        task: what the models do; ``"*"`` for all of them.
    """
    of_task = [n for n, e in entries().items() if task in ("*", e.task)]
    if pretrained:
        from zoo.weights import index

        names: Iterable[str] = sorted((n for n in index() if n.partition(".")[0] in of_task), key=_natural)
        return [n for n in names if fnmatchcase(n, pattern) or fnmatchcase(n.partition(".")[0], pattern)]
    return [n for n in of_task if fnmatchcase(n, pattern)]


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a misspelt name: with the nearest ones, or all of them where none is near."""
    known = list(known)
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known) or 'none'}"
    return UnknownName(f"there is no {kind} {name!r}; {hint}")


def create_model(name: str, **kwargs: Any) -> Any:
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
    model: ZooNetwork = builder(**kwargs)
    model.arch = name
    model.config = {key: value for key, value in bound.arguments.items() if key != "input_spec"}
    return model
