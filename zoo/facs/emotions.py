"""Emotions as data: names, AU prototypes, objective classes, and the label mappings of the field by name.

A mapping is a table from raw label to class, per data set. A raw label that a table does not hold is an error and never
dropped; what a mapping drops is listed in it (``DROP``). Labels are compared case-folded and stripped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

DROP = None
Table = Mapping[str, str | None]

# Spellings that mean one emotion in the data sets' own sheets. Mappings and readers work on the right-hand side.
SYNONYMS: Mapping[str, str] = {
    "happy": "happiness", "happyiness": "happiness", "hapiness": "happiness", "sad": "sadness", "other": "others",
    "surprised": "surprise", "surprize": "surprise", "suprise": "surprise", "angry": "anger", "fearful": "fear",
    "disgusted": "disgust", "neutrality": "neutral",
}  # fmt: skip


class UnknownLabel(ValueError):
    """A raw label that no one has seen before: an error, never a silent drop."""


def canonical(label: object) -> str:
    """A label as the zoo spells it: lower case, stripped, one spelling per emotion."""
    text = " ".join(str(label).split()).casefold()
    return SYNONYMS.get(text, text)


# --- objective classes ----------------------------------------------------------------------------------------------

# Davison, Merghani and Yap 2018: the AU set must match exactly, sides and intensities ignored; all else is class 7.
OBJECTIVE_SETS: Mapping[int, tuple[frozenset[int], ...]] = {
    number: tuple(frozenset(map(int, text.split("+"))) for text in sets.split())
    for number, sets in {
        1: "6 12 6+12 6+7+12 7+12",
        2: "1+2 5 25 1+2+25 25+26 5+24",
        3: "23 4 4+7 4+5 4+5+7 17+24 4+6+7 4+38",
        4: "10 9 4+9 4+40 4+5+40 4+7+9 4+9+17 4+7+10 4+5+7+9 7+10",
        5: "1 15 1+4 6+15 15+17",
        6: "1+2+4 20",
    }.items()
}
_CLASS_OF = {units: number for number, sets in OBJECTIVE_SETS.items() for units in sets}
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7}


def objective_class(units: Iterable[int]) -> int:
    """Objective class 1..7 that the AU rule gives. For the protocol of 2018 read the sheet's column: it has
    exceptions.
    """
    return _CLASS_OF.get(frozenset(units), 7)


def read_objective(value: object) -> int:
    """Objective class 1..7 from a cell: Roman or Arabic, as text, integer or integral float.

    Raises:
        UnknownLabel: anything else.
    """
    text = str(value).strip().casefold()
    if text in _ROMAN:
        return _ROMAN[text]
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number not in range(1, 8):
        raise UnknownLabel(f"objective class {value!r} is neither I..VII nor 1..7")
    return int(number)


# --- prototypes -----------------------------------------------------------------------------------------------------

# FACS Investigator's Guide 2002, prototypes only; braces of the source ("optionally one of 25, 26, 27") are OPTIONAL.
PROTOTYPES: Mapping[str, tuple[frozenset[int], ...]] = {
    emotion: tuple(frozenset(map(int, text.split("+"))) for text in sets.split())
    for emotion, sets in {
        "surprise": "1+2+5+26 1+2+5+27",
        "fear": "1+2+4+5+20+25 1+2+4+5+20+26 1+2+4+5+20+27 1+2+4+5+25 1+2+4+5+26 1+2+4+5+27",
        "happiness": "6+12 12",
        "sadness": "1+4+11+15 1+4+15 6+15",
        "disgust": "9 9+15+16 9+16+26 9+17 10 10+16+25 10+16+26 10+17",
        "anger": "4+5+7+10+22+23+25 4+5+7+10+22+23+26 4+5+7+10+23+25 4+5+7+10+23+26 4+5+7+23+25 4+5+7+23+26 "
        "4+5+7+17+23 4+5+7+17+24 4+5+7+23 4+5+7+24",
        "contempt": "12 14",  # Matsumoto 2008: either, on one side of the face only
    }.items()
}

# AU sets by the name of who uses them; models and protocols refer to these.
AU_SETS: Mapping[str, tuple[int, ...]] = {
    "fgrmer9": (1, 2, 4, 10, 12, 14, 15, 17, 25),
    "cross12": (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17),  # CD6ME
    "me16": (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 24, 25, 38),
    "meb_casme2": (1, 2, 4, 7, 12, 14, 15, 17),
    "meb_casme": (1, 4, 9, 14),
    "meb_samm": (2, 4, 7, 12),
    "meb_mmew": (1, 2, 4, 5, 7, 10, 12, 14),
    "meb_4dme": (1, 2, 4, 6, 7, 12, 17, 45),
    "auw_gcn6": (1, 2, 12, 14, 25, 26),
    "bp4d12": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    "disfa8": (1, 2, 4, 6, 9, 12, 25, 26),
    "p3d19": (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 24, 25, 26, 38),  # Wang et al., ICASSP 2024
    "openface17": (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45),
}


# --- label mappings -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LabelMapping:
    """From raw labels to the classes of a protocol. ``tables`` is keyed by data set; ``"*"`` serves all others."""

    name: str
    version: int
    classes: tuple[str, ...]  # in the order of class indices
    tables: Mapping[str, Table]
    column: str = "emotion"  # which manifest column it reads: "emotion" or "objective"
    source: str = ""

    def __post_init__(self) -> None:
        for table in self.tables.values():
            stray = {c for c in table.values() if c is not DROP} - set(self.classes)
            if stray:
                raise UnknownLabel(f"mapping {self.name}: {', '.join(sorted(stray))} is not among its classes")

    def of(self, dataset: str, label: object) -> str | None:
        """Class of a raw label, or ``DROP`` (``None``).

        Raises:
            UnknownLabel: the mapping does not cover the data set, or its table does not hold the label.
        """
        table = self.tables.get(dataset, self.tables.get("*"))
        if table is None:
            raise UnknownLabel(f"mapping {self.name} does not cover {dataset!r}; it covers {', '.join(self.tables)}")
        key = str(read_objective(label)) if self.column == "objective" else canonical(label)
        if key not in table:
            near = get_close_matches(key, table, n=1)
            hint = f"; nearest known: {near[0]}" if near else ""
            raise UnknownLabel(f"mapping {self.name} knows no label {label!r} of {dataset}{hint}; "
                               f"it knows {', '.join(table)}")  # fmt: skip
        return table[key]


def _table(drop: str = "", same: str = "", **classes: str) -> dict[str, str | None]:
    """``same`` keeps its name; ``negative="anger fear"`` maps both to negative; ``drop`` is dropped on purpose."""
    result: dict[str, str | None] = {label: name for name, labels in classes.items() for label in labels.split()}
    result |= {label: label for label in same.split()}
    return result | dict.fromkeys(drop.split(), DROP)


_NEGATIVE = "repression anger contempt disgust fear sadness"
_THREE = ("negative", "positive", "surprise")
_SMIC = _table(same="negative positive surprise")
_SMIC_NAMES = ("smic", "smic_hs", "smic_vis", "smic_nir", "smic_e_hs", "smic_e_vis", "smic_e_nir")
_BASIC6 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
_CASME2 = "others disgust happiness repression surprise"
_SEVEN = "anger disgust fear happiness sadness surprise"
_OBJECTIVE = {str(n): name for n, name in zip(range(1, 6), ("I", "II", "III", "IV", "V"), strict=True)}


def _plain(name: str, dataset: str, classes: str, drop: str = "", source: str = "") -> LabelMapping:
    return LabelMapping(name=name, version=1, classes=tuple(classes.split()),
                        tables={dataset: _table(drop, classes)}, source=source)  # fmt: skip


def _three(name: str, drop: str, *datasets: str, negative: str = _NEGATIVE) -> LabelMapping:
    table = _table(drop, negative=negative, positive="happiness", surprise="surprise")
    return LabelMapping(name=name, version=1, classes=_THREE, tables=dict.fromkeys(datasets, table))


_MAPPINGS = (
    LabelMapping(
        name="megc2019", version=1, classes=_THREE, source="MEGC2019, composite database evaluation",
        # The plain rule. The organisers' list also leaves out sadness and fear of CASME II, which the *protocol* does.
        tables=dict.fromkeys(_SMIC_NAMES, _SMIC) | dict.fromkeys(
            ("casme", "casme2", "samm", "casme3_a", "mmew", "dfme"),
            _table("others tense", negative=_NEGATIVE, positive="happiness", surprise="surprise")),
    ),
    LabelMapping(
        name="megc2018", version=1, classes=("I", "II", "III", "IV", "V"), column="objective",
        tables={"*": {**_OBJECTIVE, "6": DROP, "7": DROP}},
        source="MEGC2018, objective classes I-V (classes read, not derived)",
    ),
    _plain("casme_4", "casme", "disgust repression surprise tense", drop="happiness sadness contempt fear"),
    _plain("casme_8", "casme", "tense disgust repression surprise happiness sadness contempt fear"),
    _plain("casme2_5", "casme2", _CASME2, drop="sadness fear",
           source="246 rows of the sheet, 247 in the release notes"),
    _plain("casme2_7", "casme2", _CASME2 + " sadness fear"),
    _three("casme2_3", "others sadness fear", "casme2", negative="disgust repression"),
    LabelMapping(name="casme2_4", version=1, classes=("negative", "others", "positive", "surprise"), tables={
        "casme2": _table(negative="disgust sadness fear repression", positive="happiness", same="others surprise")}),
    _plain("samm_5", "samm", "anger happiness others surprise contempt", drop="disgust fear sadness"),
    _plain("samm_8", "samm", "anger happiness others surprise contempt disgust fear sadness"),
    _three("samm_3", "others", "samm"),
    LabelMapping(name="smic_3", version=1, classes=_THREE, tables=dict.fromkeys(_SMIC_NAMES, _SMIC)),
    _plain("casme_sq_4", "casme_sq", "negative others positive surprise"),
    _plain("casme_sq_3", "casme_sq", "negative positive surprise", drop="others"),
    _three("casme3_3", "others", "casme3_a", negative="anger disgust fear sadness"),
    LabelMapping(name="casme3_4", version=1, classes=("negative", "others", "positive", "surprise"), tables={
        "casme3_a": _table(negative="anger disgust fear sadness", positive="happiness", same="others surprise")}),
    _plain("casme3_7", "casme3_a", "disgust surprise others fear anger sadness happiness"),
    _plain("casme3_c", "casme3_c", "negative others positive surprise"),
    _plain("mmew_7", "mmew", _SEVEN + " others"),
    _plain("mmew_6", "mmew", _SEVEN, drop="others"),
    _plain("dfme_7", "dfme", "anger contempt disgust fear happiness sadness surprise"),
    LabelMapping(
        name="cdmer", version=1, classes=_THREE, source="CDMER: selected CASME II and the three SMIC cameras",
        tables=dict.fromkeys(_SMIC_NAMES, _SMIC) | {
            "casme2": _table("others sadness fear", negative="disgust repression", positive="happiness",
                             surprise="surprise")},
    ),
    LabelMapping(name="basic6", version=1, classes=_BASIC6, tables={
        "*": _table("neutral contempt others unknown none uncertain no-face nf", " ".join(_BASIC6))}),
    LabelMapping(name="basic7", version=1, classes=(*_BASIC6, "neutral"), tables={
        "*": _table("contempt others unknown none uncertain no-face nf", " ".join(_BASIC6) + " neutral")}),
    LabelMapping(name="basic8", version=1, classes=(*_BASIC6, "neutral", "contempt"), tables={
        "*": _table("others unknown none uncertain no-face nf", " ".join(_BASIC6) + " neutral contempt")}),
    LabelMapping(name="three", version=1, classes=_THREE, source="the plain rule of MEGC2019, for any data set", tables={
        "*": _table("others tense neutral unknown none uncertain", negative=f"negative {_NEGATIVE}",
                    positive="positive happiness", surprise="surprise")}),
    _plain("ckplus_7", "ckplus", "anger contempt disgust fear happiness sadness surprise", drop="neutral"),
)  # fmt: skip

MAPPINGS: Mapping[str, LabelMapping] = {mapping.name: mapping for mapping in _MAPPINGS}


def mapping(name: str) -> LabelMapping:
    """A label mapping by name.

    Raises:
        UnknownLabel: there is none of that name.
    """
    if name not in MAPPINGS:
        near = get_close_matches(name, MAPPINGS, n=3)
        raise UnknownLabel(f"there is no label mapping {name!r}; known: {', '.join(near or MAPPINGS)}")
    return MAPPINGS[name]
