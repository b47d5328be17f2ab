"""SMIC as folders, and SMIC-E with dragged formulas, a wrong window and a label that contradicts the name."""

from __future__ import annotations

from pathlib import Path

from fakes.files import deal, frames, xlsx

PEOPLE = {
    "HS": dict(zip((1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 18, 19, 20),
                   (6, 6, 39, 19, 2, 4, 13, 4, 7, 9, 10, 10, 4, 7, 2, 22), strict=True)),
    "VIS": dict(zip((11, 12, 13, 14, 15, 18, 19, 20), (7, 9, 10, 10, 4, 7, 2, 22), strict=True)),
}  # fmt: skip
PEOPLE["NIR"] = PEOPLE["VIS"]
TOTALS = {
    "HS": {"ne": 70, "po": 51, "sur": 43},
    "VIS": {"ne": 23, "po": 28, "sur": 20},
    "NIR": {"ne": 23, "po": 28, "sur": 20},
}
WORDS = {"ne": "negative", "po": "positive", "sur": "surprise"}


def clips(camera: str) -> list[tuple[int, str, int]]:
    tokens = deal(TOTALS[camera])
    result = []
    for person, number in PEOPLE[camera].items():
        used: dict[str, int] = {}
        for _ in range(number):
            token = tokens.pop()
            used[token] = used.get(token, 0) + 1
            result.append((person, token, used[token]))
    return result


def write(root: Path, camera: str = "HS", *, variant: str = "cropped") -> Path:
    top = root / f"SMIC_all_{variant}" / camera
    prefix = "reg_image" if variant == "cropped" else "image"
    for i, (person, token, index) in enumerate(clips(camera)):
        start = (61206, 562560, 1234567, 21234567)[i % 4]  # 6 to 8 digits, the short ones padded
        names = [f"{prefix}{start + k:06d}.bmp" for k in range(3)]
        frames(top / f"s{person}" / "micro" / WORDS[token] / f"s{person}_{token}_{index:02d}", names)
    frames(top / "s1" / "non_micro" / "s1_non_01", [f"{prefix}000001.bmp"])
    return root


HEADER = ["Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F", "Offset3F", None,
    "FirstF", "LastF",
          "TotalMF1", "TotalMF2", "TotalMF3", "TotalVL", "Emotion"]  # fmt: skip


def write_extended(root: Path, camera: str = "HS", *, with_frames: bool = True) -> Path:
    def row(person, name, on, off, first, last, *, second=(None, None), third=(None, None), emotion):
        total3 = third[1] - third[0] + 1 if third[0] else None
        return [person, name, None, on, off, *second, *third, None, first, last, off - on + 1, None, total3,
            last - first + 1,
                emotion]  # fmt: skip

    table = [
        row(1, "s1_ne_01", 559800, 559830, 559740, 559859, emotion="negative"),
        row(1, "s1_ne_03", 658536, 658560, 650000, 650699, emotion="negative"),
        row(
            4,
            "s4_ne_04",
            219300,
            219330,
            219200,
            219800,
            second=(219360, 219390),
            third=(219413, 219435),
            emotion="negative",
        ),
        row(9, "s9_sur_01", 1000, 1020, 900, 1200, second=(1100, 1120), third=(1100, 1120), emotion="surprise"),
        row(18, "s18_sur_03", 5100, 5120, 5000, 5300, second=(5010, 5030), third=(300, 290), emotion="negative"),
        row(20, "s20_po_01", 7001, 7011, 7000, 7119, emotion="positive"),
    ]
    notes = [[None] * 17, ["Notes: frames are camera counters"] + [None] * 16]
    if camera == "HS":
        sheets = {"HS": [HEADER, *table, *notes], "VIS": [], "Sheet3": []}
    else:  # no third expression, no LastF
        keep = [0, 1, 2, 3, 4, 5, 6, 9, 10, 12, 13, 15, 16]
        sheets = {camera: [[r[k] for k in keep] for r in (HEADER, *table)]}
    xlsx(root / "SMIC-E_raw image" / f"{camera}_long" / f"SMIC-{camera}-E_annotation.xlsx", sheets)
    if with_frames:
        top = root / "SMIC-E_raw image" / f"{camera}_long" / f"SMIC-{camera}-E" / camera
        for r in table:
            person, token, index = r[1].split("_")
            name = f"s{int(person[1:]):02d}_{token}_{index}"
            shift = -1 if r[1] == "s20_po_01" else 0  # files numbered one lower than the sheet
            numbers = range(r[10] + shift, r[11] + 1 + shift)
            if r[1] == "s20_po_01":
                numbers = range(7000, 7011)
            frames(top / name.split("_")[0] / name, [f"image{n:06d}.jpg" for n in numbers])
    return root
