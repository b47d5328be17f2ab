"""Who may import whom: the house's rule, walked over the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "zoo"
FREE = {"errors", "types", "_version"}  # the nouns; everybody may know them
MAY = {
    "facs": set(), "vision": {"facs"}, "features": {"vision", "facs"}, "graph": {"facs", "vision", "report", "data", "weights", "models", "predictor"},
    "spotting": {"vision", "facs", "metrics_spotting", "weights", "models", "registry", "inputs", "report", "result"},
    "magnification": {"vision", "facs", "weights", "models", "registry", "synthesis", "report"},
    "models": {"graph", "facs", "registry"}, "inputs": {"vision", "facs", "weights", "models", "magnification"}, "data": {"inputs", "facs", "registry", "vision"},
    "synthesis": {"vision", "facs", "data", "graph", "inputs"}, "metrics": set(), "metrics_spotting": {"metrics"}, "registry": {"models", "weights"}, "hub": set(), "publish": {"hub", "weights"},
    "weights": {"hub", "registry", "models"}, "convert": {"weights", "registry", "models"}, "card": set(), "export": {"weights", "models", "registry", "inputs"},
    "train": {"data", "metrics", "registry", "weights", "models", "features", "report", "graph", "facs", "inputs", "synthesis", "spotting", "card"},
    "result": {"report", "vision", "facs", "spotting", "graph"}, "report": {"result", "vision", "facs", "graph"},
    "predictor": {"inputs", "spotting", "vision", "weights", "report", "result", "models", "synthesis", "export", "live"},
    "live": {"inputs", "spotting", "vision", "weights", "report", "result", "models", "predictor"},
    "audit": {"data", "metrics", "weights", "models", "registry", "facs", "graph", "report", "inputs", "train", "vision"},
}  # fmt: skip
ONE_IMPORTER = {
    "facenet_pytorch": "vision/faces.py", "huggingface_hub": "hub.py", "wandb": "train/tracking.py", "timm": "models/backbone.py",
    "torch_geometric": "graph/sparse.py", "albumentations": "data/transforms.py", "submitit": "train/engines.py",
    "ray": "train/engines.py", "sweeps": "train/search.py", "gradio": "app.py", "onnxruntime": "export.py",
    "ai_edge_litert": "vision/facemesh.py", "numba": "train/kernels.py",
}  # fmt: skip


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "zoo" else [node.module]
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms(path):
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    for module in imports(path):
        top, _, rest = module.partition(".")
        if top in ONE_IMPORTER:
            assert str(path.relative_to(ROOT)) == ONE_IMPORTER[top], f"{top} has one importer, zoo/{ONE_IMPORTER[top]}"
        room = rest.partition(".")[0]
        if top != "zoo" or own in ("cli", "__init__", "app") or room in FREE or room == own:
            continue
        assert room != "cli", "nothing imports the command"
        assert room in MAY[own], f"{own} may not import {room}"


def test_models_know_no_lightning_and_no_file():
    for path in (ROOT / "models").glob("*.py"):
        assert not {m.partition(".")[0] for m in imports(path)} & {"pytorch_lightning", "pathlib", "cv2", "os"}, path


@pytest.mark.parametrize(
    "command", ["import zoo", "import zoo.cli", "from zoo import list_models; list_models('*', pretrained=True)"]
)
def test_nothing_heavy_is_imported_early(command):
    heavy = sorted({"torch", "numpy", "cv2", "av", "matplotlib", "pytorch_lightning", "sklearn", "rich", *ONE_IMPORTER})
    code = f"{command}\nimport sys\nprint([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_text_speaks_of_the_product_alone():
    for path in [*ROOT.rglob("*.py"), *(ROOT.parent / "recipes").glob("*.yaml")]:
        text = path.read_text("utf-8")
        assert f"{Path.home()}/" not in text, path
        assert f"{ROOT.parents[1]}/" not in text, path
