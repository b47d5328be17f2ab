"""A model outside of this package: ONNX or torch.export's .pt2, checked against the original before the file is kept.

The file carries what the model eats (its InputSpec), its classes, where it came from and its card, so that it can be run by
:func:`open_exported`, ``zoo predict --model FILE.onnx``, or by a program that has never heard of the zoo.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args
from zipfile import is_zipfile

import torch
from torch import Tensor, nn

from zoo.errors import WeightError, ZooError, missing_extra
from zoo.models._base import AUModel, ZooModel
from zoo.types import InputSpec
from zoo.weights import load

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Format = Literal["onnx", "pt2"]
TOLERANCE = 1e-5  # absolute and relative, of every output against the original
KEY = "zoo.json"  # name of the description inside a file


def export(name: str, out: str | Path, *, format: Format | None = None, checks: int = 256) -> Path:
    """Export pretrained weights, with a batch of any size.

    Args:
        name: weights, as in :func:`zoo.load`.
        out: file to write; its suffix says the format, if ``format`` does not.
        format: ``onnx`` (one file, ONNX Runtime, opset of today's exporter) or ``pt2`` (torch.export).
        checks: random inputs on which the file must answer as the original does, in batches of several sizes.

    Returns:
        The file.

    Raises:
        ZooError: an unknown format, a folder that cannot be written, or answers that differ; then nothing is kept.
        MissingExtra: onnx is not installed.
    """
    path = Path(out).expanduser()
    kind: Any = format or path.suffix.removeprefix(".")
    if kind not in get_args(Format):
        raise ZooError(
            f"{path.name or 'the file'}: no format {kind!r}; known: {', '.join(get_args(Format))}, by suffix or --format"
        )
    model = load(name)
    if not isinstance(model, ZooModel):
        raise ZooError(f"{name} is no recogniser; only those are exported")
    inner = _Outputs(model).eval()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            part = Path(folder) / f"model.{kind}"
            _write(inner, part, kind, describe(model, name))
            worst = _difference(inner, open_exported(part), checks)
            if not worst <= TOLERANCE:
                raise ZooError(
                    f"the exported {name} answers otherwise than the original (by {worst:.1e}, {TOLERANCE:.0e} is allowed); "
                    f"nothing was kept"
                )
            part.replace(path)
    except OSError as error:
        raise ZooError(f"cannot write {path}: {error.strerror}; choose another place") from error
    return path


def describe(model: ZooModel, name: str) -> dict[str, Any]:
    """What a file says of itself: JSON-plain."""
    aus = list(model.aus) if isinstance(model, AUModel) else []
    return {
        "format": 1,
        "name": name,
        "arch": model.arch,
        "input_spec": model.input_spec.to_dict(),
        "classes": list(model.classes),
        "aus": aus,
        "outputs": ["logits", *(["au_logits"] if aus else [])],
        "card": model.card,
    }


class _Outputs(nn.Module):
    """What leaves the package: class logits, and those of the action units where the model tells them."""

    def __init__(self, model: ZooModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Shapes: ``[B, *input_spec.shape]`` -> ``[B, K]``, ``[B, A]``."""
        if isinstance(self.model, AUModel):
            outputs = self.model.forward_graph(x)
            return self.model.forward_head(outputs.features), outputs.au_logits
        return (self.model.forward_head(self.model.forward_features(x)),)


def _write(inner: _Outputs, part: Path, kind: Format, about: Mapping[str, Any]) -> None:
    from torch._dynamo.exc import UserError  # not above: it costs a second

    example = _random(inner.model.input_spec, 3)
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(inner, (example,), dynamic_shapes=shapes)
        except (UserError, RuntimeError) as error:
            raise ZooError(
                f"{about['name']} cannot be exported with a batch of any size ({str(error).strip().splitlines()[0][:160]}); its "
                f"forward pass must not count clips in Python (x.shape[0], not len(x))"
            ) from error
        match kind:
            case "pt2":
                torch.export.save(program, part, extra_files={KEY: json.dumps(about)})
            case "onnx":
                _write_onnx(program, part, about)
            case _:
                assert_never(kind)


def _write_onnx(program: Any, part: Path, about: Mapping[str, Any]) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401 - what torch's exporter stands on
    except ImportError as error:
        raise missing_extra("export", "onnx and onnxscript", "exporting to ONNX") from error
    torch.onnx.export(
        program,
        f=str(part),
        input_names=["input"],
        output_names=list(about["outputs"]),
        external_data=False,
        verbose=False,
    )
    stored = onnx.load(str(part))
    entry = stored.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(about)
    onnx.checker.check_model(stored)
    onnx.save(stored, str(part))


class ExportedModel(nn.Module):
    """An exported file, ready to be asked: looks like a model of the zoo to :func:`zoo.predict`. It cannot be trained.

    Shapes: ``[B, *input_spec.shape]`` -> class logits ``[B, K]``.
    """

    def __init__(self, about: Mapping[str, Any], run: Any) -> None:
        super().__init__()
        self.run, self.name = run, str(about["name"])
        self.arch, self.card = str(about["arch"]), str(about["card"])
        self.input_spec = InputSpec.from_dict(about["input_spec"])
        self.classes, self.aus = tuple(about["classes"]), tuple(about["aus"])
        self.num_classes = len(self.classes)

    def forward_outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """All outputs of the file: class logits ``[B, K]``, and AU logits ``[B, A]`` where the model tells them."""
        if tuple(x.shape[1:]) != self.input_spec.shape:
            raise ZooError(f"{self.name} wants [B, {', '.join(map(str, self.input_spec.shape))}], got {list(x.shape)}")
        outputs: tuple[Tensor, ...] = self.run(x.float())
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """Class logits."""
        return self.forward_outputs(x)[0]


def open_exported(path: str | Path) -> ExportedModel:
    """Open a file that :func:`export` wrote. A program is in it: open only files whose origin you know.

    Raises:
        WeightError: no such file, or none of the zoo's. MissingExtra: onnxruntime is not installed.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise WeightError(f"{file} does not exist; `zoo export NAME --out FILE.onnx` writes one")
    match file.suffix:
        case ".onnx":
            session = _session(file)
            text = session.get_modelmeta().custom_metadata_map.get(KEY)

            def run(x: Tensor) -> tuple[Tensor, ...]:
                return tuple(torch.from_numpy(v) for v in session.run(None, {"input": x.cpu().numpy()}))

            return ExportedModel(_about(text, file), run)
        case ".pt2":
            extra = {KEY: ""}
            if not is_zipfile(file):
                raise WeightError(
                    f"{file} is no readable .pt2 file (no archive at all); write it again by `zoo export`"
                )
            try:
                program = torch.export.load(file, extra_files=extra)
            except (RuntimeError, OSError, ValueError, KeyError) as error:
                raise WeightError(f"{file} is no readable .pt2 file ({str(error).splitlines()[0][:120]})") from error
            module = program.module()
            return ExportedModel(
                _about(extra[KEY], file), lambda x: module(x)
            )  # a module of its own kind: no eval, no train
        case _:
            raise WeightError(f"{file} is neither .onnx nor .pt2")


def _session(file: Path) -> InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("export", "onnxruntime", "running an ONNX file") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base
        raise WeightError(f"{file} is no readable ONNX file ({str(error).splitlines()[0][:120]})") from error


def _about(text: str | bytes | None, file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(text or ""))
    except ValueError as error:
        raise WeightError(f"{file} does not say what it eats: it was not written by `zoo export`") from error


def _random(spec: InputSpec, count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *spec.shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _difference(inner: _Outputs, exported: ExportedModel, checks: int) -> float:
    """Largest difference of any output, in units that count a large logit's rounding as what it is."""
    worst, done, size = 0.0, 0, 1
    while done < checks:
        x = _random(inner.model.input_spec, min(size, checks - done), seed=done + 1)
        for mine, theirs in zip(inner(x), exported.forward_outputs(x), strict=True):
            off = (mine - theirs).abs() / (1 + mine.abs())
            worst = max(worst, float(off.max())) if bool(off.isfinite().all()) else float("inf")
        done, size = done + len(x), min(2 * size + 1, 64)
    return worst


def main(argv: Sequence[str]) -> int:
    """``zoo export``."""
    parser = argparse.ArgumentParser(
        prog="zoo export",
        description="Write weights as ONNX or .pt2, with a batch of any size; kept only if it answers as the original does.",
    )
    parser.add_argument(
        "name", help="weights: a name of `zoo models --pretrained`, local-dir:PATH or hf-hub:owner/name"
    )
    parser.add_argument("--format", choices=get_args(Format), help="default: what the suffix of --out says, else onnx")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default NAME.onnx or NAME.pt2")
    parser.add_argument("--checks", type=int, default=256, help="random inputs to compare on (default 256)")
    given = parser.parse_args(argv)
    if given.checks < 1:
        raise ZooError(f"--checks is {given.checks}; at least one input must be compared")
    suffix = given.format or "onnx"
    out = given.out or Path(f"{given.name.rpartition(':')[2].rstrip('/').rpartition('/')[2]}.{suffix}")
    path = export(given.name, out, format=given.format, checks=given.checks)
    size = path.stat().st_size / 2**20
    print(f"wrote {path} ({size:.1f} MiB), equal to {given.name} within {TOLERANCE:.0e} on {given.checks} inputs")
    print(f"zoo predict VIDEO --model {path}   runs it")
    return 0
