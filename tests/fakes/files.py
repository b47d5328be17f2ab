"""Writing sheets and frames."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np


@cache
def picture(kind: str) -> bytes:
    """A 16 x 12 picture in the wanted file format."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "bmp": "BMP", "tiff": "TIFF"}[kind])
    return out.getvalue()


def frames(folder: Path, names: Iterable[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(picture(name.rpartition(".")[2].lower()))
    return folder


def video(path: Path, count: int = 7) -> Path:
    """So many frames of 64 x 48, each brighter than the one before."""
    from zoo.vision.video import write_video

    write_video(path, (np.full((48, 64, 3), 20 + 30 * i, np.uint8) for i in range(count)), fps=25)
    return path


def xlsx(path: Path, sheets: dict[str, Sequence[Sequence[Any]]]) -> Path:
    import openpyxl

    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


def deal(counts: dict[str, int]) -> list[str]:
    """Labels in a fixed mixed order, each as often as wanted."""
    labels = [label for label, n in counts.items() for _ in range(n)]
    order = np.random.default_rng(1).permutation(len(labels))
    return [labels[i] for i in order]
