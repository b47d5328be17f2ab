"""Which units an emotion is said to show: published lists, by name, and how well a set of units fits them.

Lists describe posed or strong expressions. What micro-expressions show is in :mod:`zoo.facs.statistics`: mostly one or two
units, and an emotion that the coder chose with the film in mind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from zoo.errors import UnknownName
from zoo.facs.emotions import PROTOTYPES

AUSet = frozenset[int]
Source = Literal["fig2002", "fig2002_variants", "du2014", "keltner2019", "casme2", "mmew", "samm"]


def _table(**sets: str) -> dict[str, tuple[AUSet, ...]]:
    """``"1+2 6+12"`` is two sets; ``4+{5,7}`` is three: 4, 4+5 and 4+7."""
    return {emotion: tuple(s for text in texts.split() for s in _options(text)) for emotion, texts in sets.items()}


def _options(text: str) -> list[AUSet]:
    core, _, optional = text.partition("+{")
    fixed = frozenset(map(int, core.split("+")))
    return [fixed, *(fixed | {int(au)} for au in optional.rstrip("}").split(",") if au)]


def _without_one(sets: tuple[AUSet, ...], units: Iterable[int]) -> tuple[AUSet, ...]:
    """Each set without one of the units that it has, every result once."""
    return tuple(dict.fromkeys(s - {unit} for s in sets for unit in units if unit in s))


LISTS: Mapping[Source, Mapping[str, tuple[AUSet, ...]]] = {
    # FACS Investigator's Guide 2002: prototypes, and its major variants beside them
    "fig2002": PROTOTYPES,
    "fig2002_variants": {
        "anger": _without_one(PROTOTYPES["anger"], (4, 5, 7, 10)),
        **_table(
            surprise="1+2+5 1+2+26 1+2+27 5+26 5+27",
            fear="1+2+4+5+20+{25,26,27} 1+2+4+5 1+2+5+{25,26,27} 5+20+{25,26,27}",
            sadness="1+4+11 1+4+15+17 11+15 11+17",
        ),
    },
    # Du, Tao and Martinez 2014: units that nearly everyone shows
    "du2014": _table(
        happiness="12+25", sadness="4+15", fear="1+4+20+25", anger="4+7+24", surprise="1+2+25+26", disgust="9+10+17",
    ),
    "keltner2019": _table(
        anger="4+5+17+23+24", disgust="7+9+19+25+26", fear="1+2+4+5+7+20+25", happiness="6+7+12+25+26",
        sadness="1+4+6+15+17", surprise="1+2+5+25+26",
    ),
    # rules of thumb of the data sets' own labels
    "casme2": _table(happiness="6 12", disgust="9 10 4+7", surprise="1+2 2 25", repression="15 17 15+17"),
    "mmew": _table(
        happiness="6 12 6+12", surprise="5 26 1+2 18", anger="17+13 7 9", disgust="9 10 4+11 14", fear="4+5 20 4+11 14",
        sadness="14 17 14+17 1+2", others="4 18 4+14 38 4+7",
    ),
    "samm": _table(
        anger="7 4 4+7 7+43 4+7+43", contempt="14 12+14", disgust="9 10", fear="20", happiness="12", sadness="17 15 1",
        surprise="5 1+2",
    ),
}  # fmt: skip


def prototypes(source: Source = "fig2002") -> Mapping[str, tuple[AUSet, ...]]:
    """Emotion -> sets of units. Raises UnknownName for another source."""
    if source not in LISTS:
        raise UnknownName(f"there is no list of prototypes {source!r}; known: {', '.join(LISTS)}")
    return LISTS[source]


def similarity(a: Iterable[int], b: Iterable[int]) -> float:
    """Jaccard index of two sets of units: shared over all; of two empty sets 1."""
    first, second = frozenset(a), frozenset(b)
    return len(first & second) / len(first | second) if first | second else 1.0


def fit(units: Iterable[int], source: Source = "fig2002") -> dict[str, float]:
    """How well units fit each emotion of a list: the similarity to the nearest of its sets, best emotion first."""
    shown = frozenset(units)
    scores = {emotion: max(similarity(shown, s) for s in sets) for emotion, sets in prototypes(source).items()}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
