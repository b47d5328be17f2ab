"""Who is trained on and who is tested. A split is checked once, digested, and refused if it leaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.errors import ProtocolError

MOST_PLACES = 50_000_000  # positions that the folds of a split may list together: 400 MB


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Positions of the clips on the two sides. Raises ProtocolError where a clip stands on both."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]

    def __post_init__(self) -> None:
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise ProtocolError(f"fold {self.name}: clips {both[:5]} stand on both sides")


def loso(people: Sequence[str]) -> list[Fold]:
    """Leave one subject out: one fold per person, in order of name.

    Args:
        people: ``dataset/subject`` of each clip. The data set belongs to the name: "sub01" is somebody else in CASME.
    """
    owner = np.asarray(people)
    persons = len(np.unique(owner))
    if persons * len(owner) > MOST_PLACES:
        raise ProtocolError(
            f"{len(owner)} clips of {persons} persons would be trained on {persons} times: that is no leave-one-subject-out "
            "(where persons are not known, each picture counts as its own). Choose data.scheme official or kfold:10"
        )
    folds = [
        Fold(
            name=str(person),
            train=tuple(np.flatnonzero(owner != person).tolist()),
            test=tuple(np.flatnonzero(owner == person).tolist()),
        )
        for person in np.unique(owner)
    ]
    if len(folds) < 2:
        raise ProtocolError(f"leave-one-subject-out needs two subjects or more, got {len(folds)}")
    return folds


def grouped_kfold(people: Sequence[str], labels: Sequence[int], *, folds: int, seed: int) -> list[Fold]:
    """k folds that keep each person on one side and the classes balanced; for choosing recipes, not for reporting."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [
        Fold(name=f"fold{i}", train=tuple(train.tolist()), test=tuple(test.tolist()))
        for i, (train, test) in enumerate(splitter.split(labels, labels, people))
    ]


def check_folds(folds: Sequence[Fold], people: Sequence[str], *, everybody: bool = True) -> None:
    """Refuse a person on both sides of a fold, a clip tested twice, and (``everybody``) a clip tested never."""
    for fold in folds:
        shared = {people[i] for i in fold.train} & {people[i] for i in fold.test}
        if shared:
            raise ProtocolError(f"fold {fold.name}: {', '.join(sorted(shared)[:3])} on both sides")
    tested = sorted(i for fold in folds for i in fold.test)
    if len(set(tested)) != len(tested) or (everybody and tested != list(range(len(people)))):
        raise ProtocolError(
            f"{len(people)} clips, but {len(tested)} tests of {len(set(tested))} clips: each must be tested once"
        )


def split_digest(folds: Sequence[Fold], keys: Sequence[str]) -> str:
    """SHA-256 over the names on either side of each fold; stands beside every published number."""
    plain = {
        f.name: {"train": sorted(keys[i] for i in f.train), "test": sorted(keys[i] for i in f.test)} for f in folds
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
