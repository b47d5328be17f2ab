"""Still faces to play scripts on: the embedded public-domain portrait, a folder of pictures, or a table of portraits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.synthesis.fields import crop_to_picture
from zoo.synthesis.sample import sample_portrait
from zoo.vision.facemesh import ibug_index
from zoo.vision.faces import Face
from zoo.vision.landmarks import face_of, landmarks_of, map_points

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_ROOM = 1.25  # of a framed portrait's side, in sides of the canonical crop


@dataclass(frozen=True, kw_only=True, eq=False)
class Portrait:
    """One still face."""

    name: str  # of the person, as the source calls them
    picture: np.ndarray  # uint8 [H, W, 3] RGB
    landmarks: np.ndarray  # float64 [68, 2] x, y in pixels of the picture
    expression: str = "neutral"

    @property
    def face(self) -> Face:
        """Its box and five points."""
        return face_of(self.landmarks)

    def framed(self, size: int) -> Portrait:
        """The head in a square of ``size`` pixels; as much of it as the picture holds."""
        height, width = self.picture.shape[:2]
        eyes = float(np.linalg.norm(self.face.points[1] - self.face.points[0]))
        side = min(height, width, _ROOM * eyes / 0.32)  # the canonical crop holds 1 / 0.32 eye distances
        middle = (self.landmarks.min(0) + self.landmarks.max(0)) / 2 - [0, 0.1 * side]
        left, top = np.clip(middle - side / 2, 0, np.array([width, height]) - side)
        scale = size / side
        matrix = np.array([[scale, 0, scale * (0.5 - left) - 0.5], [0, scale, scale * (0.5 - top) - 0.5]])
        picture = self.picture
        if abs(scale - 1) > 1e-3 or left or top:
            x0, y0 = int(np.floor(left)), int(np.floor(top))
            if scale < 1:  # shrinking by means of areas, or texture would alias into false motion
                cut = picture[y0 : y0 + round(side), x0 : x0 + round(side)]
                picture = cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA)
                sx, sy = size / cut.shape[1], size / cut.shape[0]
                matrix = np.array([[sx, 0, sx * (0.5 - x0) - 0.5], [0, sy, sy * (0.5 - y0) - 0.5]])
            else:
                picture = cv2.warpAffine(
                    picture, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
                )
        return Portrait(
            name=self.name, picture=picture, landmarks=map_points(matrix, self.landmarks), expression=self.expression
        )

    def aligned(self, size: int) -> Portrait:
        """The face in the canonical crop: eyes and mouth where every aligned face of the zoo has them."""
        placed = crop_to_picture(self.landmarks)
        linear = size * np.linalg.inv(placed[:, :2])
        matrix = np.column_stack([linear, -0.5 - linear @ placed[:, 2]])
        picture, scale = self.picture, float(np.hypot(*linear[0]))
        if scale < 0.5:  # shrinking by means of areas, or texture would alias into false motion
            half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            step = np.array([half.shape[1] / picture.shape[1], half.shape[0] / picture.shape[0]])
            points = (self.landmarks + 0.5) * step - 0.5
            return Portrait(name=self.name, picture=half, landmarks=points, expression=self.expression).aligned(size)
        picture = cv2.warpAffine(
            picture, matrix, (size, size), flags=cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        points = map_points(matrix, self.landmarks)
        return Portrait(name=self.name, picture=picture, landmarks=points, expression=self.expression)


def astronaut() -> Portrait:
    """The embedded portrait (scikit-image, public domain)."""
    picture, face = sample_portrait()
    return Portrait(name="astronaut", picture=picture, landmarks=landmarks_of(face))


def read_portraits(
    source: Path | None, *, note: Callable[[str], None] = lambda text: None, limit: int | None = None
) -> list[Portrait]:
    """Portraits, one a person, in the order of their names.

    Args:
        source: a folder of pictures (one person each); an ``.npz`` with ``jpeg`` (bytes of all pictures), ``offset``,
            ``landmarks478`` or ``landmarks68``, ``face_id`` and, optionally, ``expression`` (0 neutral; others are left
            out); None takes the embedded portrait.
        note: told of every picture that cannot be used.
        limit: stop after so many.

    Raises:
        ZooError: nothing there that can be used.
    """
    if source is None:
        return [astronaut()]
    if not source.exists():
        raise ZooError(f"{source} is not there; give a folder of portraits, or an .npz of them")
    found = _from_folder(source, note, limit) if source.is_dir() else _from_npz(source, note, limit)
    if not found:
        raise ZooError(f"{source} holds no portrait that can be used ({', '.join(PICTURES)}, or an .npz of portraits)")
    return found


def _from_folder(folder: Path, note: Callable[[str], None], limit: int | None) -> list[Portrait]:
    from zoo.vision.faces import MTCNNDetector

    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith("."))
    detector = MTCNNDetector() if files else None
    out: list[Portrait] = []
    for path in files:
        if limit is not None and len(out) >= limit:
            break
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            note(f"{path.name} cannot be read as a picture; left out")
            continue
        rgb = np.ascontiguousarray(picture[..., ::-1])
        assert detector is not None
        faces = detector.detect(rgb)
        if not faces:
            note(f"no face is found in {path.name}; left out")
            continue
        out.append(Portrait(name=path.stem, picture=rgb, landmarks=landmarks_of(faces[0]).astype(np.float64)))
    return out


def _from_npz(path: Path, note: Callable[[str], None], limit: int | None) -> list[Portrait]:
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ZooError(f"{path} is no .npz of portraits ({error})") from None
    missing = [k for k in ("jpeg", "offset", "face_id") if k not in table.files]
    if missing or not {"landmarks478", "landmarks68"} & set(table.files):
        raise ZooError(
            f"{path} lacks {', '.join(missing) or 'landmarks478 or landmarks68'}; a table of portraits holds jpeg, offset, "
            f"face_id and landmarks478 or landmarks68; this holds {', '.join(table.files)}"
        )
    data, offset, names = table["jpeg"], table["offset"], table["face_id"]
    if "landmarks68" in table.files:
        landmarks = table["landmarks68"].astype(np.float64)
    else:
        landmarks = table["landmarks478"].astype(np.float64)[:, ibug_index()]
    neutral = table["expression"] == 0 if "expression" in table.files else np.ones(len(names), bool)
    out: list[Portrait] = []
    for i in np.argsort(names, kind="stable"):
        if not neutral[i] or (limit is not None and len(out) >= limit):
            continue
        picture = cv2.imdecode(data[offset[i] : offset[i + 1]], cv2.IMREAD_COLOR)
        if picture is None:
            note(f"portrait {names[i]} cannot be decoded; left out")
            continue
        rgb = np.ascontiguousarray(picture[..., ::-1])
        out.append(Portrait(name=str(names[i]), picture=rgb, landmarks=landmarks[i]))
    return out
