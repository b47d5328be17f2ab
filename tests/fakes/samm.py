"""SAMM with its preamble, and SAMM Long Videos with fractions, unknown onsets and its own numbering."""

from __future__ import annotations

from pathlib import Path

from fakes.files import deal, frames, xlsx

SUBJECTS = (6, 7, *range(9, 27), 28, *range(30, 38))
HEADER = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro",
          "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]  # fmt: skip
TOTALS = {
    "Anger": 57,
    "Happiness": 26,
    "Other": 26,
    "Surprise": 15,
    "Contempt": 12,
    "Disgust": 9,
    "Fear": 8,
    "Sadness": 6,
}
OBJECTIVE = {1: 24, 2: 13, 3: 20, 4: 8, 5: 3, 6: 7, 7: 84}
CODES = ["R14", "7B", "A9+12", "A/L12", "T23", "10A/B", "L12 or L14", "(R6 or R12)+R15", "ref(L10)+A12B",
         "R14+17+soft focus", "12+15 ", "4", 12]  # fmt: skip
FIXED = {  # filename: onset, apex, offset
    "028_4_1": (1090, 1143, 1134), "032_3_1": (4896, 1930, 4970), "032_3_2": (5126, 5127, 5180), "013_1_9": (5663,
        5700, 5739),
    "006_5_10": (9990, 10010, 10060),
}  # fmt: skip


def rows() -> list[list]:
    names = [*FIXED]
    for n in range(1, 400):
        subject = SUBJECTS[n % len(SUBJECTS)]
        name = f"{subject:03d}_{1 + n % 2}_{n}"
        if len(names) < 159 and name not in names:
            names.append(name)
    names.sort()
    labels = deal({**TOTALS, "Other": TOTALS["Other"] - sum(n.startswith("025") for n in names)})
    classes = deal(OBJECTIVE)
    result = []
    for i, name in enumerate(names):
        on, ap, off = FIXED.get(name, (500 + i, 530 + i, 560 + i))
        subject = name[:3]
        label = "Other" if subject == "025" else labels.pop()  # subject 025 keeps nothing in three classes
        result.append([subject, name, int(name[4]), on, ap, off, off - on + 1, "Micro - 1/2", CODES[i % len(CODES)],
            label,
                       classes[i], None])  # fmt: skip
    return result


def write(root: Path, *, with_frames: bool = True, preamble: bool = True, table: list[list] | None = None) -> Path:
    table = table or rows()
    head = [["SAMM Dataset"], [], ["Key:"], ["/", "or"], ["?", "unclear offset"], *[[None]] * 8] if preamble else []
    xlsx(root / "SAMM_Micro_FACS_Codes_v2.xlsx", {"MICRO_ONLY": [*head, HEADER, *table]})
    if with_frames:
        for row in table:
            numbers = {*row[3:6]} | ({4930} if row[1] == "032_3_1" else {1113} if row[1] == "028_4_1" else set())
            if row[1] == "032_3_1":
                numbers -= {1930}
            width = 5 if max(numbers) >= 10000 or int(row[0]) % 2 else 4
            frames(root / row[0] / row[1], [f"{row[0]}_{n:0{width}d}.jpg" for n in numbers if n <= row[5]])
    return root


LONG_HEADER = [
    "Subject",
    "Filename",
    "Inducement Code",
    "Onset",
    "Apex",
    "Offset",
    "Duration",
    "Type",
    "Action Units",
    "Notes",
]


def long_rows(micro: list[list]) -> list[list]:
    result = []
    for row in micro:
        shift = 3000 if row[1].startswith("032_3") else 0
        on, ap, off = row[3] - shift, row[4] - shift, row[5] - shift
        if row[1] == "032_3_1":
            ap = -1
        if row[1] == "028_4_1":
            ap = -1
        result.append([row[0], row[1], row[2], on, ap, off, off - on + 1, "Micro - 1/2", row[8], None])
    for i, zero in enumerate(["011_6_10", "012_3_3", "018_3_3"]):
        result.append([zero[:3], zero, 6, 0, 300 + i, 566.4, 567, "Macro", "12B ?", None])
    result.append(["012", "012_4_1", 4, 950, 990, 1525, 576, "Macro", "Chewing", None])
    result.append(["020", "020_6_5", 6, 4500, 4700, 5476, 977, "Macro", "((8+25)or(50))", None])
    result.append(
        ["006", "006_1_2", 1, 100.5, 140.49, 310.2, 210, "Macro", "double 45", None]
    )  # key of a micro as well
    return sorted(result, key=lambda r: (r[1], r[7]))


def write_long(root: Path, *, version: str = "V2", with_frames: bool = True) -> Path:
    micro = rows()
    micro[0][1] = "006_1_2"
    micro.sort(key=lambda r: r[1])
    table = long_rows(micro)
    head = [["SAMM Long Videos"], *[[None]] * 8]
    xlsx(root / f"SAMM_LongVideos_{version}_Release.xlsx", {"FACS_Movement_Only": [*head, LONG_HEADER, *table]})
    if with_frames:
        ends = {"012_4": 1000, "020_6": 5001}
        videos: dict[str, set[int]] = {}
        for row in table:
            last = ends.get("_".join(row[1].split("_")[:2]), 10**9)
            numbers = {int(n + 0.5) for n in row[3:6] if n > 0}
            videos.setdefault("_".join(row[1].split("_")[:2]), set()).update(n for n in (*numbers, 1) if n <= last)
        for video, last in ends.items():
            videos[video].add(last)
        for video, numbers in videos.items():
            width = 5 if max(numbers) >= 10000 else 4
            frames(root / "SAMM_longvideos" / video, [f"{video}_{n:0{width}d}.jpg" for n in numbers])
    return root
