"""Recipes: LightningCLI YAML, typed and strict, every field a dotted flag; a recipe may lie over a base."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from zoo.errors import ZooError

if TYPE_CHECKING:
    from pytorch_lightning.cli import LightningCLI


def recipes_dir() -> Path:
    """Where the recipes lie: inside the wheel, or beside the package in a checkout."""
    here = Path(__file__).parent.parent
    return here / "_recipes" if (here / "_recipes").is_dir() else here.parent / "recipes"


def find_recipe(name: str, *, near: Path | None = None) -> Path:
    """A recipe by path, or by the name of one that the zoo ships (with or without ``.yaml``; ``base/megc2019``, ``sweeps/…``).

    Raises:
        ZooError: there is none; the message lists those there are.
    """
    path = Path(name).expanduser()
    shipped = recipes_dir() / f"{name.removesuffix('.yaml').removeprefix('recipes/')}.yaml"
    for candidate in (path, *([near / path, near / f"{name}.yaml"] if near else []), shipped):
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(p.stem for p in recipes_dir().glob("*.yaml")))
    raise ZooError(f"there is no recipe {name!r}; give a YAML file, or one of {known}")


def layers(name: str, *, near: Path | None = None, above: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    """A recipe as plain mappings, base first: ``base: NAME`` at the top of a file says what it lies over.

    Raises:
        ZooError: a missing file, one that is no YAML mapping, or a base that leads back to itself.
    """
    path = find_recipe(name, near=near).resolve()
    if path in above:
        raise ZooError(f"{path}: its base leads back to itself")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ZooError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ZooError(f"{path} holds a {type(content).__name__}; a recipe is a mapping with model, data and trainer")
    base = content.pop("base", None)
    below = layers(str(base), near=path.parent, above=(*above, path)) if base else []
    return [*below, content]


def parse(recipes: Sequence[str], overrides: Sequence[str]) -> LightningCLI:
    """Read one or more recipes (later ones overlay earlier ones) and dotted overrides, and build task, data and trainer.

    Raises:
        ZooError: an unknown field, a value of the wrong type, a missing recipe.
    """
    from jsonargparse import ArgumentError
    from pytorch_lightning import Trainer
    from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

    from zoo.train.jobs import kinds

    found = [layer for name in recipes for layer in layers(name)]
    two = any("transfer" in (layer.get("model") or {}) or "macro" in (layer.get("data") or {}) for layer in found)
    two = two or any(flag.startswith(("--model.transfer", "--data.macro")) for flag in overrides)
    task, data = kinds({"model": {"transfer": None} if two else {}})

    class RecipeCLI(LightningCLI):
        """LightningCLI over the task and the data module; what the model eats is what the data module prepares."""

        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            parser.link_arguments(
                "model", "data.input_spec", compute_fn=lambda task: task.input_spec, apply_on="instantiate"
            )

    arguments = [
        part
        for layer in found
        for part in ("--config", yaml.safe_dump(layer, default_flow_style=True, width=2**20).strip())
    ]
    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*args parameter is intended.*")  # it is what we intend
            return RecipeCLI(
                task, data, args=[*arguments, *overrides], run=False, save_config_callback=None,
                seed_everything_default=0, trainer_defaults={"logger": False, "enable_checkpointing": False},
            )  # fmt: skip
    except (SystemExit, ArgumentError) as error:
        if isinstance(error, SystemExit) and error.code in (0, None):
            raise  # a request for help, answered
        text = " ".join((complaints.getvalue() or str(error)).split()).rpartition("error: ")[2]
        near = _nearest(text, {"model": task, "data": data, "trainer": Trainer})
        raise ZooError(f"the recipe or a flag is not understood: {text}{near}") from None


def _nearest(complaint: str, sections: Mapping[str, type]) -> str:
    """What a misspelt field may have meant."""
    found = re.search(r"Group '(\w+)' does not accept option '(\w+)'|--(\w+)\.(\w+)", complaint)
    section, name = [part for part in found.groups() if part][:2] if found else ("", "")
    if section not in sections:
        return ""
    fields = set(inspect.signature(sections[section].__init__).parameters) - {"self"}  # type: ignore[misc]
    close = [] if name in fields else difflib.get_close_matches(name, fields, 3, 0.5)
    return f" (near: {', '.join(f'{section}.{field}' for field in close)})" if close else ""


def plain_config(cli: LightningCLI) -> dict[str, Any]:
    """The resolved recipe as plain values: what :func:`zoo.train.folds.run_loso` takes and what is stored with a run."""
    config = cli.config.as_dict()
    model = {k: v for k, v in config["model"].items() if k != "net"}
    data = {k: v for k, v in config["data"].items() if k not in ("prepared", "input_spec")}
    trainer = {k: v for k, v in config["trainer"].items() if v is not None}
    return {"model": model, "data": data, "trainer": trainer, "seed": config.get("seed_everything")}


def recipe_text(config: Mapping[str, Any]) -> str:
    """A resolved config as a recipe: ``--config`` takes it and runs the same again."""
    import json

    whole = {part: {k: v for k, v in config[part].items() if v is not None} for part in ("model", "data", "trainer")}
    return yaml.safe_dump(json.loads(json.dumps(whole)), sort_keys=False)
