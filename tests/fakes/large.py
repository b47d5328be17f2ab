"""A manifest of the size that the field has not reached yet."""

from __future__ import annotations

from zoo.data.manifest import Manifest, Report


def big(number=100_000) -> Manifest:
    rows = [{"id": f"c{i}", "dataset": "big", "subject": f"s{i // 200}", "clip": f"c{i}", "kind": "micro", "onset": i,
             "offset": i + 20, "apex": i + 10, "emotion": ("happiness", "surprise", "disgust", "others")[i % 4]}
            for i in range(number)]  # fmt: skip
    return Manifest.from_rows(rows, Report(dataset="big", read=number))
