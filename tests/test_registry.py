from __future__ import annotations

from importlib import import_module

import pytest

import zoo
from zoo.errors import UnknownName, ZooError
from zoo.registry import create_model, entries, list_models, register
from zoo.types import InputSpec


def test_listing_by_text_equals_listing_by_import():
    for entry in entries().values():
        if entry.module.startswith("zoo.models."):
            builder = getattr(import_module(entry.module), entry.name)
            assert (builder.__doc__ or "").split("\n")[0] == entry.summary != ""


def test_glob():
    assert list_models("rcn_*") == ["rcn_a", "rcn_c", "rcn_f", "rcn_p", "rcn_s", "rcn_w"]
    assert list_models("nothing*") == []


def test_typo_gets_the_nearest_names():
    with pytest.raises(UnknownName, match="ststnet"):
        create_model("stsnet")
    with pytest.raises(UnknownName, match="num_classes"):
        create_model("ststnet", num_clases=3)
    with pytest.raises(UnknownName, match=r"zoo\.load"):
        create_model("ststnet.megc2019")


def test_a_name_is_registered_once():
    def ststnet(*, num_classes: int = 3) -> None:
        """An impostor."""

    with pytest.raises(ZooError, match=r"zoo\.models\.ststnet"):
        register(ststnet)


def test_builders_take_keyword_defaults_only():
    def positional_net(num_classes: int) -> None:
        """No configuration."""

    with pytest.raises(ZooError, match="keyword-only"):
        register(positional_net)


def test_public_names_resolve():
    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    with pytest.raises(AttributeError):
        _ = zoo.no_such_name


def test_input_spec_round_trip_and_refusals():
    spec = InputSpec(channels=("strain", "v", "u"), size=64, scaling="raw255")
    assert InputSpec.from_dict(spec.to_dict()) == spec
    for bad in (
        {"scaling": "zscore"},
        {"channels": ["u", "u"]},
        {"channels": ["w"]},
        {"channels": []},
        {"size": 0},
        {"colour": "red"},
    ):
        with pytest.raises(ZooError):
            InputSpec.from_dict(bad)
