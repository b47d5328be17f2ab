"""Weights that authors published in their own form, turned into a checkpoint folder.

A family that can read its authors' files has a function ``convert_published(state) -> (builder arguments, state)`` in its
model file; this module opens the file, and nothing that is not a tensor gets through.
"""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo.errors import WeightError, ZooError
from zoo.registry import create_model, entries, unknown
from zoo.types import MEGC_CLASSES
from zoo.weights import load_state, save, sha256


def convert(arch: str, source: str | Path, out: str | Path) -> Path:
    """Write a checkpoint folder from an author's PyTorch state dict.

    Args:
        arch: an architecture with a converter (``ststnet``).
        source: the ``.pth`` file.
        out: folder to write; ``zoo.load("local-dir:OUT")`` opens it.

    Raises:
        WeightError: not a state dict of that architecture. ZooError: no such converter, or ``out`` cannot be written.
    """
    known = entries()
    if arch not in known:
        raise unknown("model", arch, known)
    converter = getattr(import_module(known[arch].module), "convert_published", None)
    if converter is None:
        raise ZooError(
            f"{arch} has no published weights that the zoo can read; convertible: {', '.join(convertible())}"
        )
    path = Path(source).expanduser()
    arguments, state = converter(_read(path))
    model = create_model(arch, **arguments)
    load_state(model, state, str(path))
    origin = {
        "file": path.name,
        "sha256": sha256(path),
        "note": "published by the authors of the paper, converted without change",
    }
    card = (
        f"# {arch}, converted from {path.name}\n\nWeights published by the authors of the paper (sha256 `{origin['sha256']}`), "
        f"converted without change of a value. Input: {model.input_spec.to_dict()}. Their licence is their authors' to state. "
        f"Research use; a micro-expression is no lie detector.\n"
    )
    classes = (
        MEGC_CLASSES if model.num_classes == len(MEGC_CLASSES) else tuple(f"class{i}" for i in range(model.num_classes))
    )
    return save(model, out, classes=classes, card=card, record={"origin": origin})


def convertible() -> list[str]:
    """Architectures whose model file has a converter, found in its text."""
    return [
        name
        for name, entry in entries().items()
        if entry.module.startswith("zoo.models.")
        and "def convert_published("
        in (Path(__file__).parent / "models" / f"{entry.module.rpartition('.')[2]}.py").read_text("utf-8")
    ]


def _read(path: Path) -> dict[str, Any]:
    import torch

    if not path.is_file():
        raise WeightError(f"{path} does not exist; wanted the authors' state dict (.pth)")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightError(
            f"{path} is no plain PyTorch state dict ({str(error).splitlines()[0][:120]}); "
            f"anything but tensors is refused, since opening it could run code"
        ) from error
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightError(
            f"{path} holds a {type(state).__name__}, wanted a state dict of tensors (torch.save(model.state_dict(), …))"
        )
    return state
