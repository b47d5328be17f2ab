"""Protocols of the field by name: which clips, which classes, which folds, and the counts they must give.

A protocol selects clips from manifests (every clip that it leaves out is counted with a reason), maps labels to
classes by a named table, and makes folds. Where the organisers published counts, a selection that does not reach them
is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from zoo.data.manifest import Manifest
from zoo.data.partitions import (
    Fold,
    Leak,
    Split,
    check_folds,
    kfold,
    loso,
    lovo,
    part_name,
    person,
    refuse_leaks,
    scheme_name,
)
from zoo.errors import ProtocolError
from zoo.facs.coding import parse
from zoo.facs.emotions import AU_SETS, DROP, UnknownLabel, mapping
from zoo.registry import unknown

Counts = Mapping[str, Mapping[str, int]]


ApexPolicy = Literal["error", "drop", "midpoint"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a name in a paper means."""

    name: str
    title: str
    datasets: tuple[str, ...]  # all of them are needed; ("*",): whatever the manifest holds
    mapping: str = ""  # label mapping; empty for action units
    scheme: str = "loso"
    units: tuple[int, ...] = ()  # action units, where these are the classes
    counts: Counts = field(default_factory=dict)  # per data set and class, as published or counted
    exact: bool = False  # refuse other counts; otherwise tell them
    people: int | None = None
    without: Mapping[tuple[str, str, str], str] = field(default_factory=dict)  # (data set, subject, clip) -> reason
    dropped_labels: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # data set -> labels beyond the mapping's
    cross: tuple[tuple[str, str], ...] = ()  # (source, target) for scheme "cross"
    allowed: tuple[Leak, ...] = ()
    metrics: tuple[str, ...] = ("uf1", "uar", "accuracy")
    remark: str = ""
    kind: Literal["micro", "macro"] = "micro"  # which expressions of data sets that hold both


def _counts(classes: str, **datasets: tuple[int, ...]) -> dict[str, dict[str, int]]:
    names = classes.split()
    return {d: dict(zip(names, numbers, strict=True)) for d, numbers in datasets.items()}


_LIST = "not in the organisers' list"


_MEGC2019 = Protocol(
    name="megc2019", title="MEGC2019 composite (CDE)", datasets=("casme2", "smic_hs", "samm"), mapping="megc2019",
    counts=_counts("negative positive surprise", casme2=(88, 32, 25), smic_hs=(70, 51, 43), samm=(92, 26, 15)),
    exact=True, people=68, dropped_labels={"casme2": ("sadness", "fear")}, metrics=("uf1", "uar"),
    without={
        ("casme2", "sub04", "EP12_01f"): f"{_LIST}: no apex",
        ("casme2", "sub05", "EP09_05f"): f"{_LIST}: apex equals onset",
        ("casme2", "sub24", "EP07_02"): f"{_LIST}: only in the sheet of 256 rows",
        ("casme2", "sub24", "EP07_01"): f"{_LIST}: sadness in 2014, relabelled in 2019",
        ("casme2", "sub24", "EP07_04f"): f"{_LIST}: sadness in 2014, relabelled in 2019",
        ("casme2", "sub24", "EP10_03"): f"{_LIST}: sadness in 2014, relabelled in 2019",
    },
)  # fmt: skip


_MEGC2018 = Protocol(
    name="megc2018_cde", title="MEGC2018 composite (CDE), objective classes I-V", datasets=("casme2", "samm"),
    mapping="megc2018", counts=_counts("I II III IV V", casme2=(25, 15, 99, 26, 20), samm=(24, 13, 20, 8, 3)),
    exact=True,
    people=47, metrics=("uf1", "weighted_f1"),
    remark="classes are read from the objective workbook, not from the 2019 sheet, whose column differs in 37 rows",
)  # fmt: skip


def _single(name: str, dataset: str, classes: str, numbers: tuple[int, ...], **more: Any) -> Protocol:
    return Protocol(
        name=name,
        title=f"{dataset} {len(numbers)} classes",
        datasets=(dataset,),
        mapping=name,
        counts=_counts(classes, **{dataset: numbers}),
        **more,
    )


def _cdmer() -> Iterable[Protocol]:
    counts = _counts(
        "negative positive surprise",
        casme2=(90, 32, 25),
        smic_hs=(70, 51, 43),
        smic_vis=(23, 28, 20),
        smic_nir=(23, 28, 20),
    )
    smic = ("smic_hs", "smic_vis", "smic_nir")
    pairs = [(a, b) for a in smic for b in smic if a != b] + [
        (a, b) for c in smic for a, b in (("casme2", c), (c, "casme2"))
    ]
    for source, target in pairs:
        within = "casme2" not in (source, target)
        yield Protocol(
            name=f"cdmer:{source}->{target}", title=f"CDMER TYPE-{'I' if within else 'II'}", datasets=(source, target),
            mapping="cdmer", scheme="cross", cross=((source, target),), counts={d: counts[d] for d in (source, target)},
            allowed=("subject", "clip") if within else (), metrics=("uf1", "accuracy", "uar"),
            remark="the cameras of SMIC record the same people: not subject independent" if within else "",
        )  # fmt: skip


_CD6 = ("casme", "casme2", "samm", "4dme", "mmew", "casme3_a")


_EMOTIONS = "anger disgust fear happiness sadness surprise neutral"


_SEVEN = "disgust surprise others fear anger sadness happiness"


def _own(kind: Literal["micro", "macro"], tail: str, what: str) -> Iterator[Protocol]:
    for name, table, classes in (
        ("3", "three", "3 classes"),
        ("basic6", "basic6", "basic emotions"),
        ("basic7", "basic7", "basic emotions and neutral"),
        ("basic8", "basic8", "basic emotions, neutral and contempt"),
    ):
        title = f"any data set, {classes}{what}"
        yield Protocol(name=f"own_{name}{tail}", title=title, datasets=("*",), mapping=table, kind=kind)


_ALL = (
    _MEGC2019,
    _MEGC2018,
    replace(_MEGC2018, name="megc2018_hde", title="MEGC2018 holdout (HDE), both directions", scheme="cross",
            cross=(("casme2", "samm"), ("samm", "casme2")), metrics=("uar", "war"),
            remark="report the mean of the two directions"),
    _single("casme_4", "casme", "disgust repression surprise tense", (45, 39, 20, 68)),
    _single("casme2_5", "casme2", "others disgust happiness repression surprise", (99, 63, 32, 27, 25),
            remark="papers say 247 with disgust 64; the sheet holds 246"),
    _single("casme2_7", "casme2", "others disgust happiness repression surprise sadness fear", (99, 63, 32, 27, 25,
    7, 2)),
    replace(_MEGC2019, name="casme2_3", title="CASME II 3 classes, the 145 of MEGC2019", datasets=("casme2",),
            counts={"casme2": _MEGC2019.counts["casme2"]}, people=24),
    _single("samm_5", "samm", "anger happiness others surprise contempt", (57, 26, 26, 15, 12), people=27),
    _single("samm_8", "samm", "anger happiness others surprise contempt disgust fear sadness", (57, 26, 26, 15, 12,
    9, 8, 6)),
    replace(_MEGC2019, name="samm_3", title="SAMM 3 classes, the 133 of MEGC2019", datasets=("samm",),
            counts={"samm": _MEGC2019.counts["samm"]}, people=28),
    *(Protocol(name=f"{d}_3", title=f"{d} 3 classes", datasets=(d,), mapping="smic_3", exact=True, people=n,
               counts=_counts("negative positive surprise", **{d: c}))
      for d, c, n in (("smic_hs", (70, 51, 43), 16), ("smic_vis", (23, 28, 20), 8), ("smic_nir", (23, 28, 20), 8))),
    _single("casme_sq_4", "casme_sq", "negative others positive surprise", (21, 19, 8, 9)),
    _single("casme_sq_3", "casme_sq", "negative positive surprise", (21, 8, 9)),
    Protocol(name="casme3_3", title="CAS(ME)^3 A 3 classes", datasets=("casme3_a",), mapping="casme3_3", people=88,
             counts=_counts("negative positive surprise", casme3_a=(457, 55, 187)),
             remark="HTNet's list has 687 rows (449/54/184): it leaves out 12 usable ones"),
    Protocol(name="casme3_4", title="CAS(ME)^3 A 4 classes", datasets=("casme3_a",), mapping="casme3_4", people=94,
             counts=_counts("negative others positive surprise", casme3_a=(457, 161, 55, 187))),
    Protocol(name="casme3_7", title="CAS(ME)^3 A 7 classes", datasets=("casme3_a",), mapping="casme3_7", people=94,
             counts=_counts(_SEVEN, casme3_a=(250, 187, 161, 86, 64, 57, 55))),
    _single("casme3_c", "casme3_c", "negative others positive surprise", (99, 20, 16, 30), people=30),
    _single("mmew_7", "mmew", "anger disgust fear happiness sadness surprise others", (8, 72, 16, 36, 13, 89, 66)),
    _single("mmew_6", "mmew", "anger disgust fear happiness sadness surprise", (8, 72, 16, 36, 13, 89)),
    Protocol(name="dfme_challenge", title="DFME challenge, fixed train / A / B", datasets=("dfme",), mapping="dfme_7",
             scheme="official", counts=_counts("anger contempt disgust fear happiness sadness surprise",
                                               dfme=(241, 171, 735, 365, 311, 359, 447)), people=259),
    *_cdmer(),
    Protocol(name="cd6me", title="CD6ME: 12 action units, leave one data set out", datasets=_CD6,
    scheme="leave_dataset_out",
             units=AU_SETS["cross12"], metrics=("au_f1",),
             remark="binary F1 of the positive class; report the number of positives per held-out data set"),
    *(Protocol(name=f"{d}_10fold", title=f"{d}, ten folds of persons", datasets=(d,), mapping=m, scheme="kfold:10",
               metrics=("accuracy", "uf1"))
      for d, m in (("ckplus", "ckplus_7"), ("oulu_casia", "basic6"), ("mmi", "basic6"), ("jaffe", "basic7"),
                   ("mug", "basic7"), ("bu3dfe", "basic6"))),
    # stills whose persons are not known: the release's own partition keeps them apart, as far as anybody knows
    *(Protocol(name=name, title=title, datasets=(dataset,), mapping=m, scheme="official", counts=counts,
               metrics=("accuracy", "uar", "uf1"))
      for name, dataset, m, counts, title in (
          ("fer2013", "fer2013", "basic7", _counts(_EMOTIONS, fer2013=(4953, 547, 5121, 8989, 6077, 4002, 6198)),
           "FER2013, 7 classes; Training learns, PublicTest (val) and PrivateTest (test) are held out"),
          ("ferplus", "fer2013", "basic8", {}, "FER+: FER2013 by the majority of ten votes, 8 classes"),
          ("rafdb", "rafdb", "basic7", _counts(_EMOTIONS, rafdb=(867, 877, 355, 5957, 2460, 1619, 3204)),
           "RAF-DB basic, 7 classes"),
          ("affectnet_7", "affectnet", "basic7", {}, "AffectNet, 7 classes; val is held out, since test was never published"),
          ("affectnet_8", "affectnet", "basic8", {}, "AffectNet, 8 classes with contempt"),
      )),
    # for data sets that no paper has a protocol for: your own, or several joined
    *_own("micro", "", ""), *_own("macro", "_macro", ": the macro-expressions"),
)  # fmt: skip


PROTOCOLS: Mapping[str, Protocol] = {p.name: p for p in _ALL}


def protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


# --- selection


def require_apex(manifest: Manifest, policy: ApexPolicy = "error", *, stills: bool = False) -> Manifest:
    """Decide what to do with clips whose apex is not coded, before a model that needs one.

    Args:
        manifest: the clips.
        policy: refuse and list them, drop them, or take the middle of the interval (marked ``estimated``).
        stills: let pictures that have no course be: neither onset nor apex.

    Raises:
        ProtocolError: with ``error``, some clip has no apex.
    """
    if policy not in get_args(ApexPolicy):
        raise ProtocolError(f"apex policy is {policy!r}; known: {', '.join(get_args(ApexPolicy))}")
    missing = manifest.table["apex"].isna().to_numpy(bool)
    if stills:
        missing = missing & manifest.table["onset"].notna().to_numpy(bool)
    if not missing.any():
        return manifest
    if policy == "drop":
        return manifest.filter(~missing, "no apex coded")
    keys = manifest.table.index[missing].tolist()
    if policy == "error":
        raise ProtocolError(
            f"{len(keys)} clips have no apex: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}. "
            "Choose a policy: midpoint or drop (--data.apex), or spot the apex first."
        )
    table = manifest.table.copy()
    onset, offset = table.loc[missing, "onset"], table.loc[missing, "offset"]
    table.loc[missing, "apex"] = onset + (offset - onset) // 2
    table.loc[missing, "apex_source"] = "estimated"
    return Manifest(table, manifest.reports)


def select(manifest: Manifest, chosen: Protocol) -> tuple[Manifest, list[str]]:
    """Clips of a protocol and their classes; the rest is counted in the manifest's reports.

    Raises:
        ProtocolError: a data set of the protocol is missing, or a label is in no table.
    """
    there = set(manifest.table["dataset"])
    chosen = _over(chosen, manifest)
    missing = [d for d in chosen.datasets if d not in there]
    if missing:
        raise ProtocolError(
            f"protocol {chosen.name} needs {', '.join(chosen.datasets)}; the manifest lacks "
            f"{', '.join(missing)} (it has {', '.join(sorted(there))}). Build and join their manifests."
        )
    m = manifest.filter(
        manifest.table["dataset"].isin(chosen.datasets).to_numpy(bool), f"not a data set of {chosen.name}"
    )
    other = "micro" if chosen.kind == "macro" else "macro"
    m = m.filter(~m.table["kind"].isin([other, "non_micro"]).to_numpy(bool), f"no {chosen.kind}-expression")
    if chosen.units:
        return _select_units(m, chosen)
    table = mapping(chosen.mapping)
    column = table.column
    m = m.filter(m.table[column].notna().to_numpy(bool), f"no {column} coded")
    for dataset, labels in chosen.dropped_labels.items():
        for label in labels:
            hit = (m.table["dataset"] == dataset) & (m.table[column] == label)
            m = m.filter(~hit.to_numpy(bool), f"{dataset}: {label} is not in {chosen.name}")
    if chosen.without:
        triples = list(zip(m.table["dataset"], m.table["subject"], m.table["clip"], strict=True))
        for triple, reason in chosen.without.items():
            if triple in triples:
                keep = np.array([t != triple for t in triples])
                m, triples = m.filter(keep, reason), [t for t in triples if t != triple]
    pairs = list(zip(m.table["dataset"], m.table[column], strict=True))
    try:
        classes = {pair: table.of(*pair) for pair in dict.fromkeys(pairs)}  # a hundred thousand clips, a few labels
    except UnknownLabel as error:
        raise ProtocolError(
            f"protocol {chosen.name}: {error}. Correct the sheet, or choose another mapping."
        ) from error
    for dropped in [pair for pair, name in classes.items() if name is DROP]:
        stays = np.array([pair != dropped for pair in pairs])
        m = m.filter(stays, f"{dropped[0]}: {dropped[1]} has no class in {table.name}")
        pairs = [pair for pair in pairs if pair != dropped]
    return m, [str(classes[pair]) for pair in pairs]


def _over(chosen: Protocol, manifest: Manifest) -> Protocol:
    """The protocol with its data sets named, where it takes any."""
    if chosen.datasets != ("*",):
        return chosen
    return replace(chosen, datasets=tuple(sorted(set(manifest.table["dataset"]))))


def _select_units(m: Manifest, chosen: Protocol) -> tuple[Manifest, list[str]]:
    m = m.filter(m.table["aus"].notna().to_numpy(bool), "action units not coded")
    wanted = set(chosen.units)
    codings = {text: parse(text) for text in m.table["aus"].unique()}
    numbers = {text: sorted(coding.numbers() & wanted) if coding else [] for text, coding in codings.items()}
    return m, ["+".join(map(str, numbers[text])) for text in m.table["aus"]]


def split(
    manifest: Manifest, name: str | Protocol, *, scheme: str | None = None, seed: int = 0, strict: bool = True
) -> Split:
    """The folds of a protocol over a manifest, checked for leaks.

    Args:
        manifest: clips of at least the protocol's data sets.
        name: a protocol, or the name of one.
        scheme: other folds than the protocol's: ``loso``, ``lovo``, ``kfold:10``, ``leave_dataset_out``, or ``official``:
            learn from the release's training part, one fold per other part (``val``, ``test``, or as the release calls it).
        seed: of k-fold.
        strict: refuse a selection that does not have the organisers' counts (where the protocol is exact).

    Raises:
        ProtocolError: data sets are missing, counts are wrong, folds leak or cannot be made.
    """
    chosen = _over(protocol(name) if isinstance(name, str) else name, manifest)
    selected, labels = select(manifest, chosen)
    table = selected.table
    if not len(selected):
        raise ProtocolError(f"protocol {chosen.name}: no clip is left. " + " ".join(selected.lines()[-3:]))
    classes = tuple(map(str, chosen.units)) if chosen.units else mapping(chosen.mapping).classes
    datasets, subjects = table["dataset"].tolist(), table["subject"].tolist()
    people = tuple(person(d, s) for d, s in zip(datasets, subjects, strict=True))
    clips = tuple(f"{p}/{c}" for p, c in zip(people, table["clip"].fillna(table["id"]), strict=True))
    kind, number = scheme_name(scheme or chosen.scheme)
    made = _SCHEMES[kind](chosen, people, clips, datasets, labels, table["split"].tolist(), number, seed)
    notes = [chosen.remark] if chosen.remark else []
    before = {person(d, s) for d, s in zip(manifest.table["dataset"], manifest.table["subject"], strict=True)
              if d in chosen.datasets}  # fmt: skip
    lost = sorted(before - set(people))
    if lost:
        names = ", ".join(lost[:50]) + (", ..." if len(lost) > 50 else "")
        notes.append(f"{len(lost)} subjects keep no sample and have no fold: {names}")
    notes += _left_out(manifest, selected)
    result = Split(
        protocol=chosen.name, scheme=scheme or chosen.scheme, classes=classes, keys=tuple(table.index),
        labels=tuple(labels),
        people=people, clips=clips, datasets=tuple(datasets), folds=tuple(made), seed=seed if kind == "kfold" else None,
        allowed=("subject",) if kind == "lovo" else chosen.allowed, notes=tuple(notes), multilabel=bool(chosen.units),
    )  # fmt: skip
    result = replace(result, notes=(*notes, *_compare(chosen, result, strict), *check_folds(result)))
    refuse_leaks(result)
    return result


def _left_out(manifest: Manifest, selected: Manifest) -> list[str]:
    """How many clips each filter of a selection took away, and what was estimated of those that stay."""
    reports = selected.reports[len(manifest.reports) :]
    notes = [f"{len(keys)} clips left out: {reason}" for report in reports for reason, keys in report.dropped.items()]
    number = int((selected.table["apex_source"] == "estimated").sum())
    return [*notes, *([f"{number} apexes are estimated, not coded"] if number else [])]


def _compare(chosen: Protocol, made: Split, strict: bool) -> list[str]:
    found, wrong = made.counts(), []
    for dataset, wanted in chosen.counts.items():
        for name, number in wanted.items():
            have = found.get(dataset, {}).get(name, 0)
            if have != number:
                wrong.append(f"{dataset} {name}: {have}, published {number}")
    if chosen.people is not None and len(set(made.people)) != chosen.people:
        wrong.append(f"subjects: {len(set(made.people))}, published {chosen.people}")
    if wrong and chosen.exact and strict:
        raise ProtocolError(
            f"protocol {chosen.name} is a fixed list, but the selection differs: {'; '.join(wrong)}. Use the "
            "sheets it was made from (CASME II of 2014, all clips), or strict=False and another name for it."
        )
    return wrong


_Maker = Callable[..., list[Fold]]


def _cross(chosen: Protocol, people: Any, clips: Any, datasets: list[str], *_: Any) -> list[Fold]:
    names = np.array(datasets)
    return [
        Fold(name=f"{a}->{b}", train=np.flatnonzero(names == a), test=np.flatnonzero(names == b))
        for a, b in chosen.cross
    ]


def _leave_dataset_out(chosen: Protocol, people: Any, clips: Any, datasets: list[str], *_: Any) -> list[Fold]:
    names = np.array(datasets)
    if len(set(datasets)) < 2:
        raise ProtocolError("leave_dataset_out needs at least two data sets; join their manifests")
    return [Fold(name=d, test=np.flatnonzero(names == d)) for d in dict.fromkeys(datasets)]


def _official(
    chosen: Protocol, people: Any, clips: Any, datasets: Any, labels: Any, parts: list[Any], *_: Any
) -> list[Fold]:
    names = np.array([part_name(str(p)) for p in parts])
    train = np.flatnonzero(names == "train")
    tests = [p for p in dict.fromkeys(names.tolist()) if p not in ("train", "<NA>")]
    if not len(train) or not tests or "<NA>" in names:
        raise ProtocolError(
            f"protocol {chosen.name}: the column `split` must say train or the name of a test part for every "
            f"clip; it holds {', '.join(sorted(set(names.tolist())))}. Without a part to test, choose another scheme, such as "
            "kfold:10"
        )
    return [Fold(name=part, train=train, test=np.flatnonzero(names == part)) for part in tests]


_SCHEMES: Mapping[str, _Maker] = {
    "loso": lambda chosen, people, *_: loso(people),
    "lovo": lambda chosen, people, clips, *_: lovo(clips),
    "kfold": lambda chosen, people, clips, datasets, labels, parts, number, seed: kfold(people, labels, number, seed),
    "cross": _cross,
    "leave_dataset_out": _leave_dataset_out,
    "official": _official,
}


# --- the organisers' own files
