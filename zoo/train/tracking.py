"""Logging to Weights & Biases; the only importer of wandb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.errors import ZooError, missing_extra


def wandb_logger(folder: Path, *, name: str, config: dict[str, Any]) -> Any:
    """A Lightning logger on a fresh run: offline, unless ``WANDB_MODE`` or a login says otherwise.

    Offline runs lie under ``folder/wandb`` and go up later with ``wandb sync``.
    """
    import os

    try:
        import wandb
    except ImportError as error:
        raise missing_extra("wandb", "wandb", "--wandb") from error
    from pytorch_lightning.loggers import WandbLogger

    mode: Any = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
    try:
        # a run made here and handed over: the logger's own start-up passes an argument that wandb has dropped
        run = wandb.init(
            project="au-graph-zoo", name=name, dir=str(folder), config=config, mode=mode, reinit="create_new"
        )
    except (OSError, wandb.errors.Error) as error:
        raise ZooError(
            f"wandb could not start a run in {folder}: {error}; set WANDB_MODE=offline or leave --wandb out"
        ) from error
    return WandbLogger(experiment=run)
