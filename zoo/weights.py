"""Checkpoints: found, verified, loaded strictly.

A checkpoint is a folder in the hub's layout: ``config.json`` (architecture, its arguments, input, classes, record),
``model.safetensors``, ``README.md`` (the card). ``checkpoints/index.json`` lists those that belong to the zoo, with size and
SHA-256 of each file. No byte of a listed file is used before its digest is checked; nothing is ever unpickled here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UnknownName, WeightError, ZooError
from zoo.registry import create_model, unknown
from zoo.types import InputSpec

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.models._base import ZooModel

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1  # of config.json


def checkpoints_dir() -> Path:
    """Where the zoo's own checkpoints lie: ``$ZOO_CHECKPOINTS``, inside the wheel, or beside the package in a checkout."""
    if override := os.environ.get("ZOO_CHECKPOINTS"):
        return Path(override).expanduser()
    here = Path(__file__).parent
    return here / "_checkpoints" if (here / "_checkpoints").is_dir() else here.parent / "checkpoints"


@cache
def _index(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "index.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["weights"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightError(f"{path} is no index of checkpoints ({error}); restore it from the release") from error


def index() -> dict[str, dict[str, Any]]:
    """The zoo's weights by ``arch.tag``: files with bytes and sha256, licence, training data, protocol, metrics, digests."""
    return _index(checkpoints_dir())


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(name: str) -> tuple[Path, dict[str, Any] | None]:
    """The folder of a checkpoint and, for the zoo's own, its entry in the index.

    Order: an explicit place (``local-dir:PATH`` or ``hf-hub:owner/name@revision``), the packaged checkpoints, the hub's
    local cache, the hub itself.

    Raises:
        UnknownName: no such weights. WeightError: the place exists but holds no checkpoint.
    """
    scheme, _, rest = name.partition(":")
    if scheme == "local-dir":
        folder = Path(rest).expanduser()
        if not (folder / CONFIG).is_file():
            raise WeightError(
                f"{folder} holds no checkpoint: wanted {CONFIG} and {WEIGHTS} in it, as `zoo convert --out` writes them"
            )
        return folder, None
    if scheme == "hf-hub":
        from zoo import hub

        return hub.fetch(rest, files=(CONFIG, WEIGHTS, CARD)), None
    entry = index().get(name)
    if entry is None:
        if name.startswith((".", "~")) or "/" in name or os.sep in name:
            raise UnknownName(
                f"{name!r} looks like a place: write local-dir:{name} for a folder, hf-hub:{name} for a hub repository"
            )
        weights = [w for w in index() if w.startswith(f"{name}.")]
        if weights:
            raise UnknownName(
                f"{name!r} is an architecture without weights; it has been trained as {', '.join(weights)}"
            )
        raise unknown("pretrained model", name, index())
    folder = checkpoints_dir() / name
    if (folder / WEIGHTS).is_file():
        return folder, entry
    if not entry.get("repo"):
        raise WeightError(
            f"{folder} is missing and {name} has no hub repository; reinstall the package or set ZOO_CHECKPOINTS"
        )
    from zoo import hub

    return hub.fetch(f"{entry['repo']}@{entry['revision']}", files=(CONFIG, WEIGHTS, CARD)), entry


def verify(folder: Path, entry: Mapping[str, Any]) -> None:
    """Compare every listed file with its size and SHA-256. Raises WeightError at the first difference."""
    for file, wanted in entry["files"].items():
        path = folder / file
        if not path.is_file():
            raise WeightError(f"{path} is missing; restore the checkpoint from the release")
        size, digest = path.stat().st_size, sha256(path)
        if size != wanted["bytes"] or digest != wanted["sha256"]:
            raise WeightError(
                f"{path} is not the published file: {size} bytes, sha256 {digest[:12]}…, wanted {wanted['bytes']} bytes, "
                f"{wanted['sha256'][:12]}…; it was damaged or changed, restore it from the release"
            )


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a checkpoint, checked for the fields that loading needs."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        missing = {"arch", "arch_args", "input_spec", "classes"} - set(config)
    except (OSError, ValueError, TypeError) as error:
        raise WeightError(f"{path} cannot be read ({error}); the checkpoint is damaged") from error
    if missing or config.get("format", 0) > FORMAT:
        raise WeightError(
            f"{path} lacks {', '.join(sorted(missing))}"
            if missing
            else f"{path} was written by a newer zoo (format {config['format']} > {FORMAT}); upgrade au-graph-zoo"
        )
    return config


def load(name: str) -> ZooModel:
    """A pretrained model in eval mode, with ``input_spec``, ``classes`` and ``card``.

    Args:
        name: ``arch.tag`` as ``list_models(pretrained=True)`` gives it, ``local-dir:PATH`` or ``hf-hub:owner/name@revision``.

    Raises:
        UnknownName: no such weights. WeightError: damaged, tampered with, or not fitting its architecture.
    """
    folder, entry = find(name)
    if entry is not None:
        verify(folder, entry)
    config = read_config(folder)
    try:
        spec = InputSpec.from_dict(config["input_spec"]) if config["input_spec"] is not None else None
        model = create_model(config["arch"], input_spec=spec, **config["arch_args"])
    except (ZooError, TypeError) as error:
        raise WeightError(f"{folder / CONFIG} does not describe a model of this zoo: {error}") from error
    load_state(model, read_tensors(folder / WEIGHTS), str(folder / WEIGHTS))
    if len(config["classes"]) != model.num_classes:
        raise WeightError(
            f"{folder / CONFIG} names {len(config['classes'])} classes for {model.num_classes} outputs; the checkpoint is damaged"
        )
    model.classes = tuple(config["classes"])
    card = folder / CARD
    model.card = card.read_text(encoding="utf-8") if card.is_file() else ""
    return model.eval()


def fingerprint(clip: str) -> str:
    """Short digest of a clip's key (``dataset/subject/clip``), by which a record says what the weights have seen."""
    return hashlib.sha256(clip.encode()).hexdigest()[:12]


def seen_clips(name: str) -> frozenset[str]:
    """Fingerprints of the clips that pretrained weights were trained on; empty where their record does not say."""
    folder, _ = find(name)
    return frozenset(read_config(folder).get("record", {}).get("seen", ()))


def seen_among(name: str, clips: Iterable[str]) -> list[str]:
    """Those of ``clips`` (keys) that the named weights were trained on; none where no weights are named."""
    seen = seen_clips(name) if name else frozenset()
    return [clip for clip in clips if fingerprint(clip) in seen]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises WeightError for anything else, a pickle included."""
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        # read, not mapped: tensors of a mapped file change, or crash the process, when somebody overwrites it
        return parse(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightError(f"{path} is no readable safetensors file ({error}); the checkpoint is damaged") from error


def load_state(model: ZooModel, state: Mapping[str, Tensor], source: str) -> None:
    """Load strictly: the same keys, the same shapes, finite numbers, nothing left over. Half precision is widened.

    Raises:
        WeightError: lists what is missing, left over, or of another shape.
    """
    import torch

    own = model.state_dict()
    problems = [f"missing {k}" for k in own if k not in state] + [f"unknown {k}" for k in state if k not in own]
    problems += [
        f"{k} is {list(state[k].shape)}, wanted {list(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    problems += [
        f"{k} holds values that are no numbers"
        for k in own
        if k in state and not bool(torch.isfinite(state[k].float()).all())
    ]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise WeightError(
            f"{source} does not fit {model.arch or type(model).__name__}: {'; '.join(problems[:4])}{more}"
        )
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in state.items()})


def save(
    model: ZooModel,
    folder: str | Path,
    *,
    classes: tuple[str, ...] | list[str],
    card: str,
    half: bool = False,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint folder, whole or not at all.

    Args:
        model: from :func:`zoo.registry.create_model`.
        folder: must not exist, or be a checkpoint already (which is replaced).
        classes: names of the outputs, in order.
        card: the model card in Markdown.
        half: store weights of matrices and convolutions in float16; normalisation and biases stay as they are.
        record: JSON-plain facts about the training (data, protocol, metrics, digests, versions), kept in ``config.json``.
    """
    import torch
    from safetensors.torch import save_file

    if not model.arch:
        raise ZooError(
            "save() needs a model made by create_model or load, whose arguments are known; this one was built by its class"
        )
    if len(classes) != model.num_classes:
        raise ZooError(f"{len(classes)} class names for {model.num_classes} outputs")
    target = Path(folder).expanduser()
    if target.exists() and not (target / CONFIG).is_file():
        raise ZooError(f"{target} exists and is no checkpoint; choose another folder, nothing was overwritten")
    config = {
        "format": FORMAT,
        "arch": model.arch,
        "arch_args": model.config,
        "input_spec": model.input_spec.to_dict() if model.input_spec else None,  # None: prepare() does not feed it
        "classes": list(classes),
        **({"record": dict(record)} if record else {}),
    }
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    if half:
        state = {k: v.half() if v.dtype == torch.float32 and v.ndim > 1 else v for k, v in state.items()}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise ZooError(f"cannot write {target}: {error.strerror}; choose another folder") from error
    try:
        (staging / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (staging / CARD).write_text(card, encoding="utf-8")
        save_file(state, staging / WEIGHTS, metadata={"format": "pt", "arch": model.arch})
        staging.chmod(0o755)
        (staging / WEIGHTS).chmod(0o644)
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return target


def write_index(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write ``index.json`` for the checkpoint folders under ``folder``: sizes and digests are read off the files.

    Args:
        folder: holds one folder per name.
        entries: licence, training data, protocol, metrics… per ``arch.tag``.
    """
    weights = {
        name: {
            **entry,
            "files": {
                f: {"bytes": (folder / name / f).stat().st_size, "sha256": sha256(folder / name / f)}
                for f in (CONFIG, WEIGHTS, CARD)
            },
        }
        for name, entry in sorted(entries.items())
    }
    temporary = folder / ".index.json.tmp"
    temporary.write_text(json.dumps({"format": FORMAT, "weights": weights}, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / "index.json")
    _index.cache_clear()


def add_to_index(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """List checkpoints beside those that ``folder``'s ``index.json`` holds, or in their place; see :func:`write_index`."""
    listed = {n: {k: v for k, v in entry.items() if k != "files"} for n, entry in _index(folder).items()}
    write_index(folder, listed | dict(entries))
