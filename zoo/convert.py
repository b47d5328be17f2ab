"""Weights that authors published in their own form, turned into a checkpoint folder.

A family that can read its authors' files has a function ``convert_published(state) -> (builder arguments, state)`` in its
model file; this module opens the file, and nothing that is not a tensor gets through.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from zoo.errors import WeightError, ZooError, missing_extra
from zoo.registry import create_model, entries, unknown
from zoo.types import MEGC_CLASSES
from zoo.weights import load_state, save, sha256

HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins


def convert(arch: str, source: str | Path, out: str | Path) -> Path:
    """Write a checkpoint folder from an author's PyTorch state dict, or from the weights of a Keras model.

    Args:
        arch: an architecture with a converter (``ststnet``, ``softnet``).
        source: the ``.pth`` file, or the ``.hdf5`` or ``.h5`` that Keras wrote.
        out: folder to write; ``zoo.load("local-dir:OUT")`` opens it.

    Raises:
        WeightError: not the weights of that architecture. ZooError: no such converter, or ``out`` cannot be written.
        MissingExtra: h5py, which opens Keras files, is not installed.
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
        raise WeightError(f"{path} does not exist; wanted the authors' state dict (.pth) or Keras weights (.hdf5)")
    with path.open("rb") as file:
        if file.read(len(HDF5)) == HDF5:
            return _read_keras(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # reading bytes that are no pickle fails in any way it likes
        raise WeightError(
            f"{path} is no plain PyTorch state dict ({(str(error).splitlines() or [type(error).__name__])[0][:120]}); "
            f"anything but tensors is refused, since opening it could run code"
        ) from error
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightError(
            f"{path} holds a {type(state).__name__}, wanted a state dict of tensors (torch.save(model.state_dict(), …))"
        )
    return state


def _read_keras(path: Path) -> dict[str, Any]:
    """All weights of a model in Keras's hdf5 layouts: whole models, and weights alone, of Keras 2 and 3; no optimiser state."""
    import numpy as np
    import torch

    try:
        import h5py
    except ImportError:
        raise missing_extra("keras", "h5py", "opening Keras weights") from None
    found: dict[str, Any] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None and "optimizer" not in name:
            values = np.asarray(item, np.float32)
            if not np.isfinite(values).all():
                raise WeightError(f"{path}: {name} holds values that are no numbers; copy the file again")
            found[name] = torch.from_numpy(values)

    try:
        with h5py.File(path, "r") as file:
            file.get("model_weights", file).visititems(take)
    except WeightError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise WeightError(
            f"{path} is no readable hdf5 file ({str(error).splitlines()[0][:120]}); copy it again"
        ) from None
    if not found:
        raise WeightError(f"{path} holds no weights; wanted what Keras's save_weights or save wrote")
    return found
