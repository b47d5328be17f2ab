"""CASME, CAS(ME)^2, CAS(ME)^3, MMEW, 4DME and DFME."""

from __future__ import annotations

from pathlib import Path

from fakes.files import deal, frames, xlsx


def casme(root: Path) -> Path:
    header = ["Subject", "Filename", None, "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU", "Emotion"]
    table = []
    labels = deal({"tense": 68, "disgust": 45, "repression": 39, "surprise": 20, "happiness": 7, "sadness": 6,
        "contempt": 2,
                   "fear": 2})  # fmt: skip
    for i in range(189):
        subject, clip = 1 + i % 18, f"EP{1 + i // 36:02d}_{1 + (i // 18) % 2}"
        on = 100 * (i // 36) + 5 + i % 7
        table.append([subject, clip, None, on, on + 10, None, on + 20, None, "4+7", labels[i]])
    for position, (on, ap, off) in {40: (100, 120, 149), 42: (101, 110, 119), 43: (57, 65, 74)}.items():
        table[position][3:7] = [on + 900, ap, None, off]  # onset after everything: contradicts itself
    table[5][5] = table[5][4] + 5  # a held expression has a second apex
    xlsx(root / "casme.xlsx", {"Sheet1": [header, *table]})
    for position, row in enumerate(table):
        numbers = {40: (100, 120, 149), 42: (101, 110, 119), 43: (57, 65, 74)}.get(position, (row[3], row[4], row[6]))
        pad = "" if position < 92 else "03d"
        frames(root / "Cropped" / f"sub{row[0]:02d}" / row[1], [f"reg_{row[1]}-{n:{pad}}.jpg" for n in numbers])
    return root


PEOPLE = dict(zip(range(1, 23), (*range(15, 17), *range(19, 28), *range(29, 39), 40), strict=False))
VIDEOS = {"0101": ("disgust1", "disgustingteeth"), "0102": ("disgust2", "eatingworms"), "0401": ("anger1",
    "girlcrashing"),
          "0402": ("anger2", "beatingpregnantwoman"), "0502": ("happy1", "funnyerrors"), "0503": ("happy2",
          "unnyfarting"),
          "0505": ("happy3", "funnyinnovations"), "0507": ("happy4", "climbingthewall"), "0508": ("happy5",
          "funnydunkey")}  # fmt: skip


def casme_sq_table() -> list[list]:
    people, names = list(PEOPLE), [v[0] for v in VIDEOS.values()]
    macro = deal({"negative": 105, "others": 63, "positive": 116, "surprise": 16})
    micro = deal({"negative": 21, "others": 19, "positive": 8, "surprise": 9})
    # eyes on the few cells that the release has wrong
    special = {(11, "disgust1_5"): (100, 140, 130), (14, "happy2_1"): (100, 141, 131), (15, "anger1_12"): (100, 142,
        132),
               (17, "anger1_1"): (100, 0, 120)}  # fmt: skip
    keys = [*special]
    for n in range(1, 100):
        for i, person in enumerate(people):
            key = (person, f"{names[(n + i) % 9]}_{n}")
            if key not in special and len(keys) < 357:
                keys.append(key)
    table, zeros = [], 0
    for i, (person, clip) in enumerate(keys):
        on, ap, off = special.get((person, clip), (50 + i, 55 + i, 60 + i))
        kind, emotion = ("macro-expression", macro.pop()) if macro else ("micro-expression", micro.pop())
        if kind.startswith("macro") and i >= 10 and zeros < 44:
            off, zeros = 0, zeros + 1
        au = ("4,24", "14or23", 4, None)[i % 4]
        table.append([person, clip, on, ap, off, au, emotion, kind, "happyiness" if i == 3 else "happiness"])
    return table


def casme_sq(root: Path, *, with_frames: bool = True, table: list[list] | None = None) -> Path:
    table = table or casme_sq_table()
    rule1 = [[number, f"s{number}", index] for index, number in PEOPLE.items()]
    rule1 = [rule1[i % len(rule1)] for i in range(357)]  # repeated rows
    rule2 = [[code, name] for code, (name, _) in VIDEOS.items()]
    xlsx(root / "CAS(ME)^2code_final.xlsx", {"CASFEcode_final": table, "naming rule1": rule1, "naming rule2": rule2})
    if with_frames:
        codes = {name: code for code, (name, _) in VIDEOS.items()}
        for person, clip, on, ap, off, *_ in table:
            code = codes[clip.rpartition("_")[0]]
            number = PEOPLE[person]
            shown = 23 if (number, code) == (19, "0502") else number  # one folder is named after another person
            frames(
                root / "rawpic" / f"s{number}" / f"{shown}_{code}{VIDEOS[code][1]}",
                [f"img{n:03d}.jpg" for n in (on, ap, off) if n],
            )
        frames(root / "rawpic" / "s15" / "15_9999quiet", ["img001.jpg"])  # a video without annotation
    return root


def casme3(root: Path, *, with_frames: bool = True) -> Path:
    header = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
    totals = {
        "disgust": 250,
        "surprise": 187,
        "others": 158,
        "Others": 3,
        "fear": 86,
        "anger": 64,
        "sad": 57,
        "happy": 55,
    }
    labels, classes = deal(totals), deal({"VII": 373, "III": 234, "II": 151, "V": 47, "IV": 37, "I": 15, "VI": 3})
    people = [n for n in range(1, 200) if n not in (40, 149, 214, 216)][:90]
    table = []
    fixed = [(149, "d", 112, 83, 130), (216, "d", 3647, 2650, 2694), (216, "e", 0, 0, 20), (40, "e", 1800, 1820, 0),
             (40, "e", 2390, 2395, 0), (214, "c", 20, 25, 3460)]  # fmt: skip
    for i in range(860 - len(fixed)):
        person = people[i % 90]
        on = 10 + 50 * (i // 90)
        table.append([f"spNO.{person}", "abcdefgJ"[(i // 90) % 8], on, on if i < 55 else on + 5, on + 15])
    table = [*table, *[[f"spNO.{p}", v, on, ap, off] for p, v, on, ap, off in fixed]]
    sheet = [[s, v, *(str(n) for n in (on, ap, off)), "4，7" if i % 3 else "12", classes[i], labels[i]]
             for i, (s, v, on, ap, off) in enumerate(table)]  # fmt: skip
    xlsx(root / "part_A" / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
         {"label": [header, *sheet], "Sheet2": [], "Sheet3": []})  # fmt: skip
    macro = [["spNO.1", "a", "5", "10", "60", "Positive"], ["spNO.2", "b", "5", "10", "70", "Negative"]]
    xlsx(root / "part_A" / "annotation" / "cas(me)3_part_A_MaE_label_JpgIndex_v2_emotion.xlsx",
         {"Sheet1": [["sub", "seq", "onset", "apex", "offset", "emotion"], *macro]})  # fmt: skip
    if with_frames:
        ends = {("spNO.149", "d"): {112, 123, 130}, ("spNO.216", "d"): {2647, 2650, 2694}, ("spNO.216", "e"): {1, 20},
                ("spNO.40", "e"): {1800, 1820, 1845, 2390, 2395, 2403}, ("spNO.214", "c"): {20, 25, 34}}  # fmt: skip
        videos: dict[tuple[str, str], set[int]] = {}
        for s, v, *numbers in table:
            videos.setdefault((s, v), set()).update(numbers)
        videos |= ends
        for (s, v), numbers in videos.items():
            folder = s.replace("spNO", "spNo") if s == "spNO.7" else s
            # the first frames of most videos are missing
            kept = {n for n in numbers if n != 10} | {12} if s == "spNO.3" else numbers
            frames(root / "part_A" / "data" / "part_A" / folder / v / "color", [f"{n}.jpg" for n in kept])
    return root


def casme3_c(root: Path) -> Path:
    labels = deal({"negative": 99, "surprise": 30, "others": 20, "positive": 16})
    rows = [
        [f"spNO.{1 + i % 30}", 1 + i // 30, 10 * i, 10 * i + 8, "4，7" if i == 3 else "12,25", labels[i]]
        for i in range(165)
    ]
    xlsx(
        root / "part_C" / "CAS(ME)3_part_C_ME.xlsx",
        {"mockCrimeME": [["sub", "count", "onset", "offset", "au", "emotion"], *rows]},
    )
    for sub, count, on, off, *_ in rows:
        frames(root / "part_C" / "ME_C" / sub / str(count) / "color", [f"{on}.jpg", f"{off}.jpg"])
    return root


def mmew(root: Path, *, with_frames: bool = True) -> Path:
    header = [
        "Subject",
        "Filename",
        "OnsetFrame",
        "ApexFrame",
        "OffsetFrame",
        "Action Units",
        "Estimated Emotion",
        "remarks",
    ]
    labels = deal({"surprise": 89, "disgust": 72, "others": 66, "happiness": 36, "fear": 16, "sadness": 13, "anger": 8})
    rows = [[1 + i % 30, f"S{1 + i % 30:02d}-{1 + i % 6:02d}-{1 + i // 30:03d}", 1, 5, 9, ("12L", "4R", "L14",
        4)[i % 4],
             labels[i], None] for i in range(300)]  # fmt: skip
    rows[33][4] = 30  # the folder ends earlier, as is known of this row
    xlsx(root / "MMEW_Micro_Exp.xlsx", {"Sheet1": [header, *rows]})
    if with_frames:
        for row in rows:
            emotion = "repression" if row[6] == "others" else row[6]
            frames(root / "Micro_Expression" / emotion / row[1], [f"{n}.jpg" for n in (1, 5, 9)])
        frames(root / "Macro_Expression" / "S01" / "anger", ["S01-07-001.jpg"])
    return root


def fourdme(root: Path) -> Path:
    header = ["sub_ID'", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", "AU1", "Total"]
    rows = [["P1", "clip_a", "Surprise+Positive", 1826.0, 1830.0, 1840.0, "AU4(k)+L7", 0, 1],
            ["P1", "clip_b", "Negative", 2826, 2830, 2840, "AU12", 0, 1],
            ["P2", "clip_a", "Repression", 826, 830, 840, "AU1+AU2", 1, 1],
            [None, None, None, None, None, None, None, 1, 3]]  # fmt: skip
    xlsx(root / "4DME_Labelling_Micro_release v1.xlsx", {"Sheet1": [header, *rows]})
    for sub, fold, _, *numbers in (r[:6] for r in rows[:3]):
        frames(root / "gray_micro" / sub / fold, [f"Frame_{int(n):09d}.jpg" for n in numbers])
    return root


def dfme(root: Path, *, overlap: bool = False) -> Path:
    header = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]
    names = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    parts = {"training": (3, 7), "testA": (100, 2), "testB": (3 if overlap else 200, 2)}
    for part, (first, number) in parts.items():
        rows = [[f"sub{first + i // 2:04d}", f"sub{first + i // 2:04d}_{1 + i % 2:02d}", 0, 10, 20, names[i], i,
                 (500, 300, 200)[i % 3], "4+AD38+M57"] for i in range(number)]  # fmt: skip
        xlsx(root / f"{part}_full_with_AU.xlsx", {"Sheet1": [header, *rows]})
        for row in rows:
            frames(root / f"part_{part[-1]}" / row[1], [f"{n:05d}.jpg" for n in (0, 10, 20)])
    return root
