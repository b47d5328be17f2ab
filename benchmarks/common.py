"""What the scripts that make tables and checkpoints share."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def over(values: Sequence[float]) -> dict[str, Any]:
    """Mean and deviation over seeds, in the form of the index."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": deviation, "seeds": len(values), "values": list(values)}


def dump(path: Path, found: Mapping[str, Any]) -> None:
    """Write results, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def tell(what: str) -> Callable[[int, int], None]:
    """A line that counts."""
    return lambda done, total: print(f"\r{what} {done}/{total}", end="" if done < total else "\n", flush=True)


def looked_up(clips: Any, train: Sequence[int], test: Sequence[int]) -> list[int]:
    """The class that the exact set of action units of each test clip most often had in training: what is to be seen at best."""
    sets: dict[frozenset[int], Counter[int]] = defaultdict(Counter)
    for row in train:
        sets[clips.aus[row]][int(clips.labels[row])] += 1
    return [(sets[clips.aus[row]] or Counter({0: 1})).most_common(1)[0][0] for row in test]
