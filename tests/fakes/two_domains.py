"""Two domains on fakes in the published layout: who is who, teachers of every kind, and how to fit to both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import zoo
from tests.conftest import fake_clips, write_published_layout
from zoo import create_model
from zoo.train.two_domains import TwoDomainDataModule
from zoo.types import InputSpec

OTHERS = {"sub01": "sub31", "sub02": "sub32", "sub17": "sub33", "s01": "s31", "s03": "s33", "006": "036", "011": "037"}
SMALL = InputSpec(size=32, map_size=28)
CLASSES = ("negative", "positive", "surprise")


def macro_rows(seed: int = 1) -> list[tuple]:
    """Other people, who move the other way."""
    return [(d, OTHERS[s], c.replace(s, OTHERS[s]), label, 255 - m) for d, s, c, label, m in fake_clips(seed)]


def write_macro(folder: Path) -> Path:
    return write_published_layout(folder, macro_rows())


def write_teachers(folder: Path) -> dict[str, str]:
    """Weights of every kind of teacher, as files."""
    torch.manual_seed(5)
    nets = {
        "micronet": create_model("micronet", backbone="test_resnet", input_spec=SMALL),
        "saat": create_model("saat", backbone="test_resnet", input_spec=SMALL),
        "distill": create_model("au_flow_graph"),
    }
    return {k: f"local-dir:{zoo.save(net, folder / k, classes=CLASSES, card='')}" for k, net in nets.items()}


def student(method: str) -> Any:
    """A small network that a method goes with."""
    torch.manual_seed(0)
    match method:
        case "emr" | "micronet" | "saat":
            return create_model(method, backbone="test_resnet", input_spec=SMALL)
        case "distill":
            return create_model("kd_student", input_spec=create_model("au_flow_graph").input_spec)
        case _:
            return create_model("ststnet")


def fitted(task: Any, micro: Path, macro: Path, epochs: int = 1, **options: Any) -> tuple[Any, pl.Trainer]:
    """The data and the trainer after a fit without one person."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    of_macro = {"root": str(macro), "batch_size": 9, **options}
    data = TwoDomainDataModule(str(micro), complete=False, fold="samm/006", batch_size=12, macro=of_macro)
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", **quiet)
    trainer.fit(task, datamodule=data)
    return data, trainer
