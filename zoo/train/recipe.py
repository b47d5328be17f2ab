"""Recipes: LightningCLI YAML, typed and strict, every field a dotted flag."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from zoo.data.module import FlowMapsDataModule
from zoo.errors import ZooError
from zoo.train.task import RecognitionTask


class RecipeCLI(LightningCLI):
    """LightningCLI over the task and the data module; what the model eats is what the data module prepares."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the model's input to the data."""
        parser.link_arguments(
            "model", "data.input_spec", compute_fn=lambda task: task.input_spec, apply_on="instantiate"
        )


def recipes_dir() -> Path:
    """Where the recipes lie: inside the wheel, or beside the package in a checkout."""
    here = Path(__file__).parent.parent
    return here / "_recipes" if (here / "_recipes").is_dir() else here.parent / "recipes"


def find_recipe(name: str) -> Path:
    """A recipe by path, or by the name of one that the zoo ships (with or without ``.yaml``)."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = recipes_dir() / f"{name.removesuffix('.yaml').removeprefix('recipes/')}.yaml"
    if shipped.is_file():
        return shipped
    known = ", ".join(sorted(p.stem for p in recipes_dir().glob("*.yaml")))
    raise ZooError(f"there is no recipe {name!r}; give a YAML file, or one of {known}")


def parse(recipes: Sequence[str], overrides: Sequence[str]) -> RecipeCLI:
    """Read one or more recipes (later ones overlay earlier ones) and dotted overrides, and build task, data and trainer.

    Raises:
        ZooError: an unknown field, a value of the wrong type, a missing recipe.
    """
    arguments = [part for name in recipes for part in ("--config", str(find_recipe(name)))] + list(overrides)
    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*args parameter is intended.*")  # it is what we intend
            return RecipeCLI(
                RecognitionTask, FlowMapsDataModule, args=arguments, run=False, save_config_callback=None,
                seed_everything_default=0, trainer_defaults={"logger": False, "enable_checkpointing": False},
            )  # fmt: skip
    except (SystemExit, ArgumentError) as error:
        if isinstance(error, SystemExit) and error.code in (0, None):
            raise  # a request for help, answered
        text = " ".join((complaints.getvalue() or str(error)).split())
        raise ZooError(f"the recipe or a flag is not understood: {text.rpartition('error: ')[2]}") from None


def plain_config(cli: RecipeCLI) -> dict[str, Any]:
    """The resolved recipe as plain values: what :func:`zoo.train.folds.run_loso` takes and what is stored with a run."""
    config = cli.config.as_dict()
    model = {k: v for k, v in config["model"].items() if k != "net"}
    data = {k: v for k, v in config["data"].items() if k not in ("prepared", "input_spec")}
    trainer = {k: v for k, v in config["trainer"].items() if v is not None}
    return {"model": model, "data": data, "trainer": trainer, "seed": config.get("seed_everything")}
