"""CASME II: 255 rows with the per-subject counts, class sums and odd cells of the release."""

from __future__ import annotations

from pathlib import Path

from fakes.files import deal, frames, xlsx

PER_SUBJECT = (9, 13, 7, 5, 19, 5, 9, 3, 14, 14, 10, 12, 8, 4, 3, 4, 36, 3, 16, 11, 2, 2, 12, 10, 7, 17)
HEADER = [
    "Subject",
    "Filename",
    None,
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    None,
    "Action Units",
    "Estimated Emotion",
]
FIXED = {  # (subject, clip): onset, apex, offset, AU, emotion
    (4, "EP12_01f"): (261, "/", 321, "4+7", "disgust"),
    (5, "EP09_05f"): (69, 69, 119, 4, "disgust"),
    (5, "EP16_04f"): (121, 181, 181, "4+L10", "others"),
    (5, "EP05_03"): (10, 20, 60, "?", "others"),
    (5, "EP07_01"): (11, 21, 61, "?", "others"),
    (7, "EP06_01"): (24, 60, 68, "4+7+6", "disgust"),
    (24, "EP07_01"): (100, 130, 160, 1, "sadness"),
    (24, "EP07_04f"): (101, 131, 161, "1+4", "sadness"),
    (24, "EP10_03"): (102, 132, 162, 15, "sadness"),
    (26, "EP13_01"): (103, 133, 163, "?", "sadness"),
}
TOTALS = {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2}
OBJECTIVE = {1: 25, 2: 15, 3: 99, 4: 26, 5: 20, 6: 1, 7: 69}
AUS = {"others": "4", "disgust": "4+7", "happiness": "6+12", "repression": "15+17", "surprise": "1+2", "sadness": "1+4",
       "fear": "L1+L2"}  # fmt: skip


def rows() -> list[list]:
    left = dict(TOTALS)
    for *_, emotion in FIXED.values():
        left[emotion] -= 1
    result = []
    fixed = {s: [(c, v) for (t, c), v in FIXED.items() if t == s] for s in range(1, 27)}
    # subjects 10 and 18 keep nothing in three classes; every other subject keeps something
    plan = {s: ["others"] * n if s in (10, 18) else [] for s, n in enumerate(PER_SUBJECT, 1)}
    left["others"] -= 17
    for s, n in enumerate(PER_SUBJECT, 1):
        if s not in (10, 18) and n > len(fixed[s]):
            plan[s].append("repression" if left["repression"] else "happiness")
            left[plan[s][-1]] -= 1
    rest = deal(left)
    for s, n in enumerate(PER_SUBJECT, 1):
        while len(plan[s]) + len(fixed[s]) < n:
            plan[s].append(rest.pop())
        for clip, (on, ap, off, au, emotion) in fixed[s]:
            result.append([f"{s:02d}", clip, None, on, ap, off, None, au, emotion])
        for i, emotion in enumerate(plan[s], 1):
            on = 40 + i
            au = AUS[emotion]
            result.append([f"{s:02d}", f"EP{i:02d}_{i % 7:02d}f" if i % 5 else f"EP{i:02d}f", None, on, on + 30,
                on + 66, None,
                           int(au) if au.isdigit() else au, emotion])  # fmt: skip
    assert not rest and len(result) == 255
    return result


def write(root: Path, *, version: str = "20140508", with_frames: bool = True, table: list[list] | None = None) -> Path:
    table = table or rows()
    header = list(HEADER)
    if version == "20190701":
        header.append("Objective Classes")
        changed = {(24, "EP07_01"), (24, "EP07_04f"), (24, "EP10_03")}
        for row, number in zip(table, deal({30: 0} | {1: 30, 2: 18, 3: 93, 4: 15, 5: 18, 6: 2, 7: 79}), strict=True):
            row.append(number)
            if (int(row[0]), row[1]) in changed:
                row[8] = "surprise"
            if row[7] == "?":
                row[7] = "1+4"
    xlsx(root / f"CASME2-coding-{version}.xlsx", {"Sheet1": [header, *table], "Sheet2": [], "Sheet3": []})
    classes = deal(OBJECTIVE)[: len(table)]
    xlsx(
        root / "CASME2-ObjectiveClasses.xlsx",
        {
            "Sheet1": [
                ["Subject", "Filename", "Objective Class"],
                *[[r[0], r[1], c] for r, c in zip(table, classes, strict=False)],
            ]
        },
    )
    if with_frames:
        for row in table:
            numbers = {n for n in row[3:6] if isinstance(n, int)}
            if (int(row[0]), row[1]) == (7, "EP06_01"):
                numbers = {24, 60, 91}  # the folder runs further than the sheet says
            frames(root / "Cropped" / f"sub{row[0]}" / row[1], [f"reg_img{n}.jpg" for n in numbers])
        (root / "Cropped" / "sub01" / "Thumbs.db").write_bytes(b"x")
        (root / "Cropped" / "sub01" / table[0][1] / "Desktop - Shortcut.lnk").write_bytes(b"x")
        (root / "Cropped" / "sub01" / table[0][1] / "._reg_img1.jpg").write_bytes(b"x")
    return root
