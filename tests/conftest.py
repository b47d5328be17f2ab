"""Fakes in the real on-disk layout, and the few real files that tests may use where they exist."""

from __future__ import annotations

import os
import sys

# small tensors gain nothing from more threads, and sums in another order are other sums; read when torch is first imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the fakes are importable whatever the import mode
# commands are tested in processes of their own; without compiled files each of them compiles torch anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks a real hub; the loopback test runs in a process of its own

PEOPLE = {"casme2": ("sub01", "sub02", "sub17"), "smic": ("s01", "s03"), "samm": ("006", "011")}


def fake_map(label: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [28, 28, 3] (u, v, strain): each class moves another part of the face, so a network can learn it."""
    y, x = np.mgrid[:28, :28]
    cx, cy = ((14, 6), (8, 20), (20, 20))[label]
    bump = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18)
    channels = [bump * sign + rng.normal(0, 0.15, (28, 28)) for sign in (1, -1, 1)]
    stretched = [255 * (c - c.min()) / (c.max() - c.min()) for c in channels]
    return np.rint(np.stack(stretched, -1)).astype(np.uint8)


def fake_clips(seed: int = 0) -> list[tuple[str, str, str, int, np.ndarray]]:
    """(dataset, subject, clip, label, map) for seven people, six clips each."""
    rng = np.random.default_rng(seed)
    rows = []
    for dataset, people in PEOPLE.items():
        for subject in people:
            for k in range(6):
                prefix = "EP" if dataset == "casme2" else f"{subject}_"
                rows.append((dataset, subject, f"{prefix}{k:02d}_{k + 1}", k % 3, fake_map(k % 3, rng)))
    return rows


def write_published_layout(root: Path, rows: list[tuple[str, str, str, int, np.ndarray]]) -> Path:
    """norm_u_v_os/<subject>/{u_train,u_test}/<label>/<subject>_<clip> .png, with the stray blank of the published names."""
    subjects = list(dict.fromkeys(r[1] for r in rows))
    for tested in subjects:
        for _, subject, clip, label, picture in rows:
            side = "u_test" if subject == tested else "u_train"
            folder = root / "norm_u_v_os" / tested / side / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / f"{subject}_{clip} .png"), picture[..., ::-1])
    return root / "norm_u_v_os"


@pytest.fixture(scope="session")
def megc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small fake of the published MEGC2019 layout."""
    return write_published_layout(tmp_path_factory.mktemp("megc"), fake_clips())


@pytest.fixture(scope="session")
def macro_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of other people in the same layout, to be learnt from beside the others."""
    from tests.fakes.two_domains import write_macro

    return write_macro(tmp_path_factory.mktemp("macro"))


@pytest.fixture(scope="session")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Weights of every kind of teacher."""
    from tests.fakes.two_domains import write_teachers

    return write_teachers(tmp_path_factory.mktemp("teachers"))


@pytest.fixture(scope="session")
def megc_real() -> Path:
    """The real composite, where somebody has it: $ZOO_MEGC2019, or ../shared/data beside the checkout."""
    path = Path(os.environ.get("ZOO_MEGC2019", Path(__file__).parents[2] / "shared" / "data" / "megc2019_flow.npz"))
    if not path.exists():
        pytest.skip(
            "needs the MEGC2019 flow maps (../shared/data/megc2019_flow.npz, or $ZOO_MEGC2019); their licence keeps them out"
        )
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the workers of a pool: the number of threads decides the last bit of a sum."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
