"""Folds: who trains and who tests, checked for leaks, frozen to JSON with a digest.

A :class:`Split` holds its samples once; a fold holds the positions of its test samples, and its training samples are
the rest unless it lists them. So leave-one-subject-out over 100,000 clips stays small, on disk and in memory.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ProtocolError

Scheme = Literal["loso", "lovo", "kfold", "leave_dataset_out", "cross", "official"]
Leak = Literal["subject", "clip", "doubled"]
Indices = NDArray[np.int64]
VERSION = 1

# Releases that record the same people under the same subject ids: SAMM inside SAMM Long Videos, the cameras of SMIC.
SAME_PEOPLE: Mapping[str, str] = {
    "samm_lv": "samm", "smic": "smic", "smic_hs": "smic", "smic_vis": "smic", "smic_nir": "smic", "smic_e_hs": "smic",
    "smic_e_vis": "smic", "smic_e_nir": "smic",
}  # fmt: skip


def person(dataset: str, subject: str) -> str:
    """Who is behind a subject id: data sets never share people, except the releases of :data:`SAME_PEOPLE`."""
    return f"{SAME_PEOPLE.get(dataset, dataset)}/{subject}"


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One round of training and testing, by positions in the split's samples."""

    name: str
    test: Indices
    train: Indices | None = None  # None: all other samples


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples with their classes, and the folds over them.

    ``keys``, ``labels``, ``people``, ``clips`` and ``datasets`` run in parallel, one entry per sample.
    """

    protocol: str
    scheme: str
    classes: tuple[str, ...]
    keys: tuple[str, ...]  # Clip.key
    labels: tuple[str, ...]  # one of classes; for action units those that are active, joined by +
    people: tuple[str, ...]
    clips: tuple[str, ...]  # person and clip: copies of a clip share it
    datasets: tuple[str, ...]
    folds: tuple[Fold, ...]
    allowed: tuple[Leak, ...] = ()  # leaks that the protocol has by definition
    notes: tuple[str, ...] = ()
    seed: int | None = None
    multilabel: bool = False

    def train(self, fold: Fold) -> Indices:
        """Positions of the training samples of a fold."""
        if fold.train is not None:
            return fold.train
        mask = np.ones(len(self.keys), bool)
        mask[fold.test] = False
        return np.flatnonzero(mask)

    def keys_of(self, positions: Indices) -> list[str]:
        """Keys of samples by position."""
        return [self.keys[i] for i in positions]

    def __iter__(self) -> Iterator[tuple[str, list[str], list[str]]]:
        """``(name, training keys, test keys)`` of each fold."""
        for fold in self.folds:
            yield fold.name, self.keys_of(self.train(fold)), self.keys_of(fold.test)

    @property
    def targets(self) -> NDArray[np.int64]:
        """Class index per sample ``[N]``; 0/1 per class ``[N, A]`` where a sample has several."""
        index = {name: i for i, name in enumerate(self.classes)}
        if not self.multilabel:
            return np.array([index[label] for label in self.labels], np.int64)
        table = np.zeros((len(self.keys), len(self.classes)), np.int64)
        for i, label in enumerate(self.labels):
            for part in filter(None, label.split("+")):
                table[i, index[part]] = 1
        return table

    def test_counts(self, fold: Fold, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Test samples per class of a fold ``[K]``."""
        return np.bincount(targets[fold.test], minlength=len(self.classes))

    def counts(self) -> dict[str, dict[str, int]]:
        """Samples per data set and class."""
        result: dict[str, dict[str, int]] = {}
        for dataset, label in zip(self.datasets, self.labels, strict=True):
            row = result.setdefault(dataset, dict.fromkeys(self.classes, 0))
            for part in filter(None, label.split("+")) if self.multilabel else (label,):
                row[part] += 1
        return result

    @property
    def digest(self) -> str:
        """SHA-256 of what is trained and tested: samples with their classes, and folds; not of the order of rows."""
        order = np.argsort(np.array(self.keys, dtype=object), kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        hasher = hashlib.sha256()

        def put(*parts: str) -> None:
            hasher.update(json.dumps(parts, ensure_ascii=False).encode())

        put(self.protocol, *self.classes)
        for i in order:
            put(self.keys[i], self.labels[i])
        for fold in sorted(self.folds, key=lambda f: f.name):
            put("fold", fold.name)
            hasher.update(np.sort(rank[fold.test]).astype("<i8").tobytes())
            put("train")
            if fold.train is not None and len(fold.train) + len(fold.test) != len(self.keys):
                hasher.update(np.sort(rank[fold.train]).astype("<i8").tobytes())
        return hasher.hexdigest()

    # --- files

    def write(self, path: str | Path) -> Path:
        """Freeze to JSON; the file appears only when it is complete."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {
            "version": VERSION, "protocol": self.protocol, "scheme": self.scheme, "digest": self.digest,
            "classes": self.classes, "seed": self.seed, "allowed": self.allowed, "multilabel": self.multilabel,
            "notes": self.notes,
            "samples": [list(s) for s in zip(self.keys, self.labels, self.people, self.clips, self.datasets,
            strict=True)],
            "folds": [{"name": f.name, "test": f.test.tolist(), "train": None if f.train is None else f.train.tolist()}
                      for f in self.folds],
        }  # fmt: skip
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        part.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Split:
        """Read a frozen split, verify its digest, and check it for leaks again.

        Raises:
            ProtocolError: the file is missing, was edited, or leaks.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            columns = list(zip(*data["samples"], strict=True)) or [()] * 5
            folds = tuple(Fold(name=f["name"], test=np.array(f["test"], np.int64),
                               train=None if f["train"] is None else np.array(f["train"], np.int64))
                          for f in data["folds"])  # fmt: skip
            result = cls(
                protocol=data["protocol"], scheme=data["scheme"], classes=tuple(data["classes"]), keys=columns[0],
                labels=columns[1], people=columns[2], clips=columns[3], datasets=columns[4], folds=folds,
                allowed=tuple(data["allowed"]), notes=tuple(data["notes"]), seed=data["seed"],
                multilabel=data["multilabel"],
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise ProtocolError(f"{path}: not a frozen split ({error}). Freeze it again from its manifest.") from error
        if data.get("version") != VERSION or result.digest != data["digest"]:
            raise ProtocolError(
                f"{path}: the digest says {data['digest'][:12]}, the content {result.digest[:12]}: the file "
                "was changed by hand. Freeze it again from its manifest."
            )
        refuse_leaks(result)
        return result


# --- leaks


def _codes(names: Sequence[str]) -> tuple[Indices, list[str]]:
    unique, codes = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)
    return codes.astype(np.int64), unique.tolist()


def refuse_leaks(split: Split) -> None:
    """Raise where a person or a clip is on both sides of a fold, or a sample is tested twice.

    Raises:
        ProtocolError: a leak that ``split.allowed`` does not name.
    """
    total = len(split.keys)
    if len(set(split.keys)) != total:
        doubled = sorted({k for k in split.keys if split.keys.count(k) > 1})[:3] if total < 10_000 else []
        raise ProtocolError(
            f"{total - len(set(split.keys))} samples are listed twice {', '.join(doubled)}: one row per sample"
        )
    tested = np.zeros(total, np.int64)
    groups = {"subject": _codes(split.people), "clip": _codes(split.clips)}
    totals = {name: np.bincount(codes, minlength=len(names)) for name, (codes, names) in groups.items()}
    for fold in split.folds:
        outside = [a for a in (fold.test, fold.train) if a is not None and len(a) and (a.min() < 0 or a.max() >= total)]
        if outside or not len(fold.test):
            raise ProtocolError(
                f"fold {fold.name!r}: {'a position outside the samples' if outside else 'no test sample'}"
            )
        tested[fold.test] += 1
        if fold.train is not None and len(both := np.intersect1d(fold.train, fold.test)):
            raise ProtocolError(
                f"fold {fold.name!r}: {len(both)} samples train and test, first {split.keys[both[0]]}. "
                "Remove them from one side."
            )
        for kind, (codes, names) in groups.items():
            if kind in split.allowed:
                continue
            in_test, number = np.unique(codes[fold.test], return_counts=True)
            if fold.train is None:
                shared = in_test[totals[kind][in_test] > number]
            else:
                shared = np.intersect1d(in_test, codes[fold.train])
            if len(shared):
                what = {"subject": "the person", "clip": "a copy of the clip"}[kind]
                raise ProtocolError(
                    f"fold {fold.name!r} leaks: {what} {names[shared[0]]} is in training and test ({len(shared)} in "
                    f"all). "
                    "SAMM and SAMM Long Videos, and the cameras of SMIC, hold the same people. Keep them on one side."
                )
    twice = np.flatnonzero(tested > 1)
    if len(twice) and "doubled" not in split.allowed:
        raise ProtocolError(
            f"{len(twice)} samples are scored twice, first {split.keys[twice[0]]}: a sample is tested in one fold"
        )


def check_folds(split: Split) -> list[str]:
    """Remarks that are legal but should be known: training folds that lack a class. One line per class, also warned."""
    if split.multilabel:
        return []
    targets, number = split.targets, len(split.classes)
    everything = np.bincount(targets, minlength=number)
    lacking: dict[str, list[str]] = {}
    for fold in split.folds:
        used = split.test_counts(fold, targets)
        counts = everything - used if fold.train is None else np.bincount(targets[fold.train], minlength=number)
        for name, count in zip(split.classes, counts, strict=True):
            if not count:
                lacking.setdefault(name, []).append(fold.name)
    remarks = [f"{len(folds)} folds train without {name}, first {folds[0]}" for name, folds in lacking.items()]
    if remarks:
        warnings.warn(f"{'; '.join(remarks)}; cap class weights", stacklevel=3)
    return remarks


# --- schemes

# A release's own names of its parts, by what they are for.
PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "publictest"),
    "test": ("test", "testing", "privatetest"),
}


def part_name(text: str) -> str:
    """``train``, ``val`` or ``test`` for a release's name of that part (``PrivateTest`` of FER2013); any other as it is."""
    return next((name for name, names in PARTS.items() if text.casefold() in names), text)


def _by(codes: Indices, names: Sequence[str]) -> list[Fold]:
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return [Fold(name=name, test=np.sort(order[bounds[i] : bounds[i + 1]])) for i, name in enumerate(names)]


def loso(people: Sequence[str]) -> list[Fold]:
    """One fold per person."""
    return _by(*_codes(people))


def lovo(clips: Sequence[str]) -> list[Fold]:
    """One fold per clip: expressions of one clip stay together. Persons are on both sides: not subject independent."""
    return _by(*_codes(clips))


def kfold(people: Sequence[str], labels: Sequence[str], number: int, seed: int) -> list[Fold]:
    """Folds of whole persons with similar class shares.

    Raises:
        ProtocolError: fewer persons than folds.
    """
    codes, names = _codes(people)
    if number < 2 or number > len(names):
        raise ProtocolError(f"{number} folds of {len(names)} persons: choose 2 to {len(names)}")
    from sklearn.model_selection import StratifiedGroupKFold

    targets, _ = _codes(labels)
    maker = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer members than folds; check_folds tells it
        parts = [np.sort(test) for _, test in maker.split(np.zeros(len(codes)), targets, codes)]
    parts = [p for p in parts if len(p)]
    width = len(str(number))
    return [Fold(name=f"fold{i + 1:0{width}d}", test=p.astype(np.int64)) for i, p in enumerate(parts)]


def inner(split: Split, fold: Fold | str, *, fraction: float = 0.2, seed: int = 0) -> tuple[list[str], list[str]]:
    """Divide a fold's training samples by persons, so that epochs and parameters are chosen without the test fold.

    Args:
        split: the split.
        fold: one of its folds, or the name of one.
        fraction: least share of the training samples that validates.
        seed: which persons.

    Returns:
        Keys to train on, keys to validate on; no person is in both, none is tested.

    Raises:
        ProtocolError: no such fold, or fewer than two persons to train on.
    """
    if isinstance(fold, str):
        named = [f for f in split.folds if f.name == fold]
        if not named:
            raise ProtocolError(
                f"there is no fold {fold!r}; there are {', '.join(f.name for f in split.folds[:8])}, ..."
            )
        fold = named[0]
    if not 0 < fraction < 1:
        raise ProtocolError(f"fraction is {fraction}; a share between 0 and 1 is wanted")
    positions = split.train(fold)
    codes, names = _codes([split.people[i] for i in positions])
    if len(names) < 2:
        raise ProtocolError(f"fold {fold.name!r} trains on {len(names)} person; inner validation needs at least 2")
    order = np.random.default_rng([seed, len(positions)]).permutation(len(names))
    sizes = np.cumsum(np.bincount(codes)[order])
    number = min(int(np.searchsorted(sizes, fraction * len(positions))) + 1, len(names) - 1)
    chosen = np.isin(codes, order[:number])
    return split.keys_of(positions[~chosen]), split.keys_of(positions[chosen])


def scheme_name(text: str) -> tuple[Scheme, int]:
    """``"kfold:10"`` to scheme and number.

    Raises:
        ProtocolError: no such scheme.
    """
    name, _, number = text.partition(":")
    if name not in get_args(Scheme) or (number and not number.isdecimal()):
        raise ProtocolError(
            f"there is no scheme {text!r}; known: {', '.join(get_args(Scheme))} (kfold:10 for ten folds)"
        )
    return name, int(number or 5)  # type: ignore[return-value]


def summary(split: Split) -> dict[str, Any]:
    """What to print beside a score: counts, number of folds and persons, digest."""
    return {
        "protocol": split.protocol,
        "scheme": split.scheme,
        "samples": len(split.keys),
        "folds": len(split.folds),
        "people": len(set(split.people)),
        "counts": split.counts(),
        "digest": split.digest,
        "notes": list(split.notes),
    }
