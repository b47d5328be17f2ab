"""Landmarks that a user brings along, as .npy, .npz or .csv."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from zoo.errors import DataError, ZooError
from zoo.vision.facemesh import ibug_index
from zoo.vision.faces import Face

POINTS = (68, 478)


class LandmarkFile:
    """Points of every frame, read from a file.

    ``.npy``: float ``[T, N, 2]`` or ``[T, N, 3]`` (depth is dropped), ``[N, 2]`` for a single picture, with N 68 (iBUG) or 478
    (MediaPipe, of which iBUG's 68 are taken). ``.npz``: the same under ``landmarks``, with the frames' numbers from 0 under
    ``frames`` where not every frame is there. ``.csv``: one row per frame, columns ``x_0 … x_67, y_0 … y_67`` and, where not
    every frame is there, ``frame``; so OpenFace writes it, and ``zoo faces --landmarks`` (then ``face`` chooses one). All in
    pixels of the frame.

    A frame whose points are missing, not finite, or marked as failed (OpenFace's ``success`` 0) is refused when it is asked
    for, by its number; ``warnings`` says beforehand how many those are.

    Args:
        path: the file.
        face: number of the face, where a .csv has a column ``face`` with several.
        first: what ``frame`` is at the first frame; None: 1 in a file of OpenFace (it has a column ``success``), else 0.

    Attributes:
        points: float32 ``[T, 68, 2]``, NaN where there are none.
        frames: their numbers, from 0.

    Raises:
        DataError: the file is missing, or not in one of these forms; the message says what it holds.
    """

    def __init__(self, path: str | Path, *, face: int | None = None, first: int | None = None) -> None:
        self.path = Path(path)
        self.warnings: list[str] = []
        if not self.path.is_file():
            raise DataError(
                f"there is no landmark file {self.path}; give a .npy, .npz or .csv, or the name of a provider"
            )
        match self.path.suffix.lower():
            case ".npy" | ".npz":
                points, numbers = self._arrays()
            case ".csv":
                points, numbers = self._table(face, first)
            case other:
                raise DataError(
                    f"{self.path}: landmarks are read from .npy, .npz or .csv, not from {other or 'a bare name'}"
                )
        if first is not None and self.path.suffix.lower() != ".csv":
            raise ZooError("first counts the frames of a .csv; arrays count from 0")
        if points.shape[1] == POINTS[1]:
            points = points[:, ibug_index()]
        self.points, self.frames = points.astype(np.float32), numbers
        twice = len(numbers) - len(set(numbers.tolist()))
        if twice or (numbers < 0).any():
            raise DataError(f"{self.path}: frame numbers must be unique and not negative; {twice} occur twice")
        self._row = {int(number): row for row, number in enumerate(numbers)}
        self._bad: list[bool] = [not np.isfinite(frame).all() for frame in self.points]
        if bad := [int(number) for number, missing in zip(numbers, self._bad, strict=True) if missing]:
            named = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
            self.warnings.append(
                f"{self.path.name}: no valid landmarks in {len(bad)} of {len(points)} frames ({named})"
            )

    def landmarks(self, rgb: np.ndarray, face: Face | None = None, *, index: int = 0) -> np.ndarray:
        """See :meth:`~zoo.vision.landmarks.LandmarkProvider.landmarks`; picture and face are not looked at."""
        row = self._row.get(index)
        if row is None:
            raise DataError(
                f"{self.path} has no landmarks of frame {index}; it holds {len(self.frames)} frames, "
                f"{self.frames.min()} to {self.frames.max()}, counted from 0"
            )
        if self._bad[row]:
            missing = 68 - int(np.isfinite(self.points[row]).all(-1).sum())
            raise DataError(
                f"{self.path}: the landmarks of frame {index} are not valid ({missing} of 68 points are not finite, or the file "
                f"marks them as failed); correct or interpolate them, or leave that frame out"
            )
        point: np.ndarray = self.points[row]
        return point

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            loaded = np.load(self.path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{self.path} cannot be read as an array of numbers ({error})") from None
        numbers = None
        if isinstance(loaded, np.ndarray):
            points = loaded
        else:
            with loaded:
                if "landmarks" not in loaded.files:
                    raise DataError(f"{self.path} has no array `landmarks`; it has {', '.join(loaded.files) or 'none'}")
                points = loaded["landmarks"]
                numbers = loaded["frames"] if "frames" in loaded.files else None
        if points.ndim == 2:
            points = points[None]
        if (
            points.ndim != 3
            or points.shape[1] not in POINTS
            or points.shape[2] not in (2, 3)
            or points.dtype.kind not in "fiu"
        ):
            raise DataError(
                f"{self.path}: landmarks are numbers [frames, 68 or 478, 2 or 3], got {points.dtype} {list(points.shape)}"
            )
        if numbers is None:
            numbers = np.arange(len(points))
        if numbers.shape != (len(points),) or numbers.dtype.kind not in "iu":
            raise DataError(
                f"{self.path}: `frames` must be {len(points)} whole numbers, got {numbers.dtype} {list(numbers.shape)}"
            )
        return points[..., :2], numbers.astype(int)

    def _table(self, face: int | None, first: int | None) -> tuple[np.ndarray, np.ndarray]:
        import pandas as pd

        try:
            table = pd.read_csv(self.path, skipinitialspace=True)
        except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
            raise DataError(f"{self.path} cannot be read as a table ({error})") from None
        table.columns = [str(name).strip() for name in table.columns]
        if "face" in table.columns and (table["face"].nunique() > 1 or face is not None):
            numbers = sorted(int(n) for n in table["face"].unique())
            if face not in numbers:
                raise DataError(
                    f"{self.path} holds faces {', '.join(map(str, numbers))}; name one of them by `face`, got {face}"
                )
            table = table[table["face"] == face].reset_index(drop=True)
        count = sum(bool(re.fullmatch(r"x_\d+", name)) for name in table.columns)
        wanted = [f"{axis}_{i}" for axis in "xy" for i in range(count)]
        if count not in POINTS or (lacking := [name for name in wanted if name not in table.columns]):
            why = f"{count} columns x_0, x_1, …" if count not in POINTS else f"no column {lacking[0]}"
            raise DataError(f"{self.path}: columns x_0 … x_67, y_0 … y_67 are wanted (or 478 of each), found {why}")
        values = table[wanted].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64, copy=True)
        if "success" in table.columns:
            values[table["success"].to_numpy() == 0] = np.nan
        if first is None:
            first = 1 if "success" in table.columns else 0
        frames = np.arange(len(table))
        if "frame" in table.columns:
            stated = pd.to_numeric(table["frame"], errors="coerce")
            if stated.isna().any() or (stated % 1 != 0).any():
                row = int((stated.isna() | (stated % 1 != 0)).to_numpy().argmax())
                raise DataError(
                    f"{self.path}: row {row + 2}, column frame: {table['frame'].iloc[row]!r} is no frame number"
                )
            frames = stated.to_numpy().astype(int) - first
        return values.reshape(len(table), 2, count).transpose(0, 2, 1), frames
