"""How far the landmark providers lie from MediaPipe's own answers on people, in percent of the distance between the eyes.

    python benchmarks/landmarks.py --london london_pairs_256.npz [--model face_landmarker.task] [--every 4]

Faces are found by MTCNN, as in prediction. Portraits: Face Research Lab London Set (DeBruine and Jones 2017, CC BY 4.0), neutral and
smiling, with the points that MediaPipe itself gave; none of the pictures is kept. Without a model file MediaPipe's networks are
not measured, and the result says so. Writes benchmarks/results/landmarks.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from zoo.vision.facemesh import ENVIRONMENT, FaceMesh, ibug_index
from zoo.vision.faces import MTCNNDetector
from zoo.vision.klt import PointTrack
from zoo.vision.landmarks import face_of, landmarks_of

RESULT = Path(__file__).parent / "results" / "landmarks.json"
PARTS = {"all": slice(0, 68), "jaw": slice(0, 17), "brows": slice(17, 27), "nose": slice(27, 36), "eyes": slice(36, 48), "mouth": slice(48, 68)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--london", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=os.environ.get(ENVIRONMENT))
    parser.add_argument("--every", type=int, default=4, help="take each so-manieth portrait")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    data, table68 = np.load(arguments.london), ibug_index()
    detector, mesh = MTCNNDetector(), FaceMesh(arguments.model) if arguments.model else None
    found: dict[str, list[np.ndarray]] = {}
    spent, missed, taken = 0.0, 0, range(0, len(data["offset"]) - 1, arguments.every)
    for number in taken:
        code = data["jpeg"][data["offset"][number] : data["offset"][number + 1]]
        rgb = cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        truth = (
            data["landmarks478"][number].astype(np.float32) - 0.5
        )  # MediaPipe counts from the corner of the first pixel
        unit = 100 / face_of(truth[table68]).interocular
        faces = detector.detect(rgb)
        if not faces:
            missed += 1
            continue

        def note(name: str, points: np.ndarray, wanted: np.ndarray, unit: float = unit) -> None:
            found.setdefault(name, []).append(unit * np.linalg.norm(points - wanted, axis=1))

        note("canonical face on MTCNN's five points", landmarks_of(faces[0]), truth[table68])
        note("canonical face on five true points", landmarks_of(face_of(truth[table68])), truth[table68])
        if mesh is not None:
            begin = time.perf_counter()
            points = mesh.mesh(rgb, faces[0])
            spent += time.perf_counter() - begin
            note("MediaPipe's networks on LiteRT", points[table68], truth[table68])
        # followed into a turned, shifted copy: what is true there is known exactly
        turn = cv2.getRotationMatrix2D((128, 128), 1.5, 1.0)
        turn[:, 2] += (2.0, -1.5)
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        moved = cv2.warpAffine(grey, turn, grey.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        note(
            "followed by Lucas-Kanade",
            PointTrack(truth[table68], grey).step(moved),
            truth[table68] @ turn[:, :2].T + turn[:, 2],
        )
    table = Table("provider", *PARTS, "worst portrait", title="error, % of the distance between the eyes", box=None)
    rows = {}
    for name, errors in found.items():
        each = np.stack(errors)
        row = {part: round(float(each[:, where].mean()), 2) for part, where in PARTS.items()}
        rows[name] = {**row, "worst portrait": round(float(each.mean(1).max()), 2)}
        table.add_row(name, *(str(v) for v in rows[name].values()))
    Console().print(table)
    written = {
        "date": time.strftime("%Y-%m-%d"),
        "portraits": len(taken),
        "without a face": missed,
        "percent_of_interocular": rows,
        "mediapipe_ms_per_face": round(1000 * spent / (len(taken) - missed), 1)
        if mesh
        else "not measured: no model file",
        "opencv": cv2.__version__,
    }
    RESULT.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
