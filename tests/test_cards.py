"""Every checkpoint has a card, and every number on it is the record's."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from zoo.weights import CARD, CONFIG, checkpoints_dir, index

NAMES = sorted(index())


@pytest.fixture(params=NAMES)
def checkpoint(request):
    folder = checkpoints_dir() / request.param
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    return request.param, (folder / CARD).read_text("utf-8"), config["record"], index()[request.param]


def front(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_every_folder_is_listed_and_every_listed_one_is_there():
    assert {p.name for p in checkpoints_dir().iterdir() if p.is_dir()} == set(NAMES)


def test_the_front_matter_is_what_a_hub_reads(checkpoint):
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    name, card, _, _ = checkpoint
    data = huggingface_hub.ModelCard(card).data
    assert data.license and data.library_name == "au-graph-zoo" and data.tags, name


def test_model_index_holds_the_numbers_of_the_record(checkpoint):
    name, card, record, entry = checkpoint
    if "metrics" in record:
        assert entry["metrics"] == record["metrics"], "the index and the record tell the same"
    held = numbers([record, entry.get("metrics")])
    results = [r for model in front(card).get("model-index", []) for r in model["results"]]
    for metric in (m for result in results for m in result["metrics"]):
        assert any(abs(metric["value"] - value) <= 5e-5 for value in held), (name, metric)


def numbers(value) -> set[float]:
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values()))
    if isinstance(value, list):
        return set().union(*map(numbers, value))
    return {value} if isinstance(value, float) else set()


def test_every_mean_and_deviation_on_a_card_is_one_of_a_record(checkpoint):
    """``0.712 ± 0.008`` anywhere in the text must be a mean and deviation that the record, or a saved baseline, holds."""
    name, card, record, _ = checkpoint
    known = {text for held in (record, *(index()[n] for n in NAMES)) for text in spreads(held)}
    quoted = set(re.findall(r"\d\.\d{3} ± \d\.\d{3}", card))
    assert quoted <= known, f"{name}: {sorted(quoted - known)} stand on the card and in no record"


def spreads(value) -> set[str]:
    if isinstance(value, dict):
        own = set()
        if isinstance(value.get("mean"), float) and isinstance(value.get("std"), float):
            own = {f"{value['mean']:.3f} ± {value['std']:.3f}"}
        return own.union(*map(spreads, value.values()))
    return set().union(*map(spreads, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("word", ["licen", "lie detector", "```python"])
def test_a_card_says_licence_misuse_and_how(checkpoint, word):
    name, card, *_ = checkpoint
    assert word in card.lower(), f"the card of {name} does not mention {word!r}"


def test_synthetic_weights_say_so(checkpoint):
    name, card, *_ = checkpoint
    if ".synthetic" in name:
        assert "synthetic" in card.split("---\n", 2)[2][:1500].lower(), name
        if "portrait" in card.lower():
            assert "DeBruine" in card and "CC BY" in card, (
                f"{name} was trained on portraits whose licence wants attribution"
            )
