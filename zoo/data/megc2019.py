"""The MEGC2019 composite as the authors of STSTNet published it: one 28x28 motion picture per clip.

SMIC-HS 164 clips, CASME II 145, SAMM 133: 442 clips of 68 subjects in three classes. The pictures derive from data sets
whose licences allow research only; they are not part of this project.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from zoo.data.flow_maps import FlowMaps
from zoo.errors import DataError
from zoo.types import MEGC_CLASSES

COUNTS = {"smic": (70, 51, 43), "casme2": (88, 32, 25), "samm": (92, 26, 15)}  # negative, positive, surprise
_SUBJECT = {"casme2": re.compile(r"sub\d{2}"), "smic": re.compile(r"s\d{2}"), "samm": re.compile(r"\d{3}")}
_WANTED = (
    "wanted either a megc2019_flow.npz (flow, label, dataset, subject, clip) or the published folder "
    "norm_u_v_os/<subject>/{u_train,u_test}/{0,1,2}/*.png"
)


def read_megc2019(root: str | Path, *, complete: bool = True) -> FlowMaps:
    """Read the composite from its published folder or from one .npz file.

    Args:
        root: ``norm_u_v_os`` (or a folder that holds it), or the .npz.
        complete: demand the 442 clips with the class counts of the challenge. False reads what is there.

    Raises:
        DataError: not that layout, a damaged picture, or other counts than the challenge's.
    """
    if not str(root):
        raise DataError(f"no data: point --data.root at it; {_WANTED}")
    path = Path(root).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; {_WANTED}")
    data = _read_npz(path) if path.is_file() else _read_folder(path)
    if complete:
        for dataset, wanted in COUNTS.items():
            found = Counter(int(y) for y, d in zip(data.labels, data.datasets, strict=True) if d == dataset)
            got = tuple(found[label] for label in range(3))
            if got != wanted:
                raise DataError(
                    f"{path}: {dataset} has {got} clips (negative, positive, surprise), the challenge has {wanted}; "
                    f"complete the folder, or read what is there with complete=False"
                )
    return data


def _read_npz(path: Path) -> FlowMaps:
    try:
        with np.load(path, allow_pickle=False) as file:
            flow, label, dataset, subject, clip = (file[k] for k in ("flow", "label", "dataset", "subject", "clip"))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_WANTED}") from error
    if flow.ndim != 4 or flow.shape[-1] != 3:
        raise DataError(f"{path}: 'flow' has shape {flow.shape}, wanted [N, 28, 28, 3] (u, v, strain)")
    return FlowMaps(
        maps=np.ascontiguousarray(flow.transpose(0, 3, 1, 2)),
        labels=label.astype(np.int64),
        classes=MEGC_CLASSES,
        datasets=tuple(map(str, dataset)),
        subjects=tuple(map(str, subject)),
        clips=tuple(map(str, clip)),
        source=str(path),
    )


def _read_folder(path: Path) -> FlowMaps:
    import cv2

    if not any(path.glob("*/u_test")) and (path / "norm_u_v_os").is_dir():
        path = path / "norm_u_v_os"
    subjects = sorted(p.name for p in path.iterdir() if (p / "u_test").is_dir())
    if not subjects:
        raise DataError(f"{path} holds no <subject>/u_test folder; {_WANTED}")
    maps, rows = [], []
    for subject in subjects:
        dataset = next((d for d, pattern in _SUBJECT.items() if pattern.fullmatch(subject)), None)
        if dataset is None:
            raise DataError(
                f"{path / subject}: {subject!r} is a subject of none of CASME II (sub01), SMIC (s01), SAMM (006); "
                f"rename or remove the folder"
            )
        for label in range(3):
            for file in sorted((path / subject / "u_test" / str(label)).glob("*.png")):
                picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
                if picture is None:
                    raise DataError(f"{file} is no readable PNG; fetch it again")
                maps.append(picture[..., ::-1].transpose(2, 0, 1))  # the file's RGB is u, v, strain; OpenCV reads BGR
                rows.append((dataset, subject, _clip_name(file, subject, dataset), label))
    shapes = {m.shape for m in maps}
    if len(shapes) != 1:
        raise DataError(
            f"{path}: pictures of different sizes {sorted(s[1:] for s in shapes)}; the published ones are 28x28"
        )
    _check_training_side(path, subjects, {(s, c) for _, s, c, _ in rows})
    datasets, names, clips, labels = zip(*rows, strict=True)
    return FlowMaps(
        maps=np.stack(maps),
        labels=np.array(labels, np.int64),
        datasets=datasets,
        subjects=names,
        clips=clips,
        classes=MEGC_CLASSES,
        source=str(path),
    )


def _clip_name(file: Path, subject: str, dataset: str) -> str:
    # published names carry a stray blank before the suffix, and the subject in front; SMIC and SAMM clips begin with
    # their subject anyway (s01_ne_01, 006_1_2), CASME II clips do not (EP02_01f)
    clip = file.stem.strip().removeprefix(f"{subject}_")
    return clip if dataset == "casme2" or clip.startswith(f"{subject}_") else f"{subject}_{clip}"


def _check_training_side(path: Path, subjects: list[str], clips: set[tuple[str, str]]) -> None:
    """Refuse a fold whose training folder holds a picture of the subject it tests: that is a leak, not a typo."""
    for subject in subjects:
        for file in (path / subject / "u_train").glob("*/*.png"):
            if file.stem.strip().startswith(f"{subject}_"):
                raise DataError(
                    f"{file} is a picture of subject {subject} in its own training folder: the fold leaks; remove it"
                )
