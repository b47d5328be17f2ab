"""Score a trained model on clips it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data.clip_set import ClipSet
from zoo.data.megc2019 import read_megc2019
from zoo.data.module import Prepared, ResidentLoader
from zoo.errors import ZooError
from zoo.metrics import confusion, scores
from zoo.models._base import ZooModel
from zoo.types import Prediction


def evaluate(model: ZooModel | str, data: ClipSet | str | Path) -> dict[str, Any]:
    """Predict every clip and score the pooled predictions.

    A published checkpoint was trained on the whole composite: scored on it again it only shows that it remembers. For a fair
    number see ``zoo loso``.

    Args:
        model: a model, or a name for :func:`zoo.load`.
        data: prepared clips, or where :func:`zoo.data.megc2019.read_megc2019` finds them.

    Returns:
        ``metrics`` (UF1, UAR, accuracy; full and per data set), ``confusion`` (rows are truth), ``predictions`` (one
        :class:`zoo.types.Prediction` per clip), ``seen`` (how many of the clips the named weights were
        trained on; None for a model that is not named, of which this is not known).
    """
    import pytorch_lightning as pl

    from zoo.train.launch import quiet
    from zoo.train.task import RecognitionTask, collect
    from zoo.weights import load, seen_among

    net = load(model) if isinstance(model, str) else model
    maps: Any = data if isinstance(data, ClipSet) else read_megc2019(data)
    if net.classes and tuple(net.classes) != tuple(maps.classes):
        raise ZooError(
            f"the model predicts {', '.join(net.classes)}; {maps.source} is labelled {', '.join(maps.classes)}: "
            f"fine-tune it with RecognitionTask.from_pretrained(name, num_classes={len(maps.classes)})"
        )
    quiet()
    trainer = pl.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    loader = ResidentLoader(Prepared.of(maps, net.input_spec), range(len(maps)), batch_size=256)
    rows, truth, logits = collect(trainer.predict(RecognitionTask(net=net), dataloaders=loader))
    keys, probabilities = maps.keys, logits.softmax(1).tolist()
    return {
        "seen": len(seen_among(model, maps.keys)) if isinstance(model, str) else None,
        "metrics": scores(
            truth.numpy(), logits.argmax(1).numpy(), len(maps.classes), [maps.datasets[i] for i in rows.tolist()]
        ),
        "confusion": confusion(truth.numpy(), logits.argmax(1).numpy(), len(maps.classes)).tolist(),
        "predictions": [
            Prediction(clip=keys[i], probabilities=tuple(p), classes=maps.classes)
            for i, p in zip(rows.tolist(), probabilities, strict=True)
        ],
    }
