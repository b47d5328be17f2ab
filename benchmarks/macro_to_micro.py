"""What do large expressions teach about faint ones? Macro weights, micro weights from them, and the comparison, from one command.

    python benchmarks/macro_to_micro.py --portraits london_pairs_256.npz [--root PATH/TO/norm_u_v_os]

Synthetic people: micro-expressions on 48 portraits and macro-expressions on the other 54 (``zoo synth``), to which the real smiles
of these 54 are added. A small ResNet learns the macro clips of three quarters of its people; then, on the micro clips, four folds
of persons and several seeds, one recipe is run from scratch and from the macro weights, with one thing changed at a time, on two
inputs: the apex in grey, as Peng et al. (FG 2018) have it, and its difference from the onset. Every run is compared with the one
from scratch, paired over persons (:mod:`zoo.train.compare`).

With ``--root``: STSTNet and AUFlowGraph on the MEGC2019 composite, leave one subject out, from flow of the same macro clips and
from scratch (whose results are those of the leaderboard).

Writes benchmarks/results/macro_to_micro.json, benchmarks/macro_to_micro.md and checkpoints/resnet_apex.synthetic_*. What is
finished is kept under --runs; ``--only`` does one part. Portraits: Face Research Lab London Set (DeBruine & Jones 2017, CC BY 4.0).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from common import dump, looked_up, over, tell
from release_synthetic import ATTRIBUTION, HERE, LICENCE, deal, runs_in_words

from zoo.card import MISUSE, spread
from zoo.data.manifest import Manifest
from zoo.data.module import pick_fold
from zoo.data.readers import read
from zoo.data.source import Source
from zoo.inputs import aligned_clip, face_detector, prepare
from zoo.metrics import scores
from zoo.synthesis.dataset import Settings, write_dataset
from zoo.synthesis.portraits import Portrait, read_portraits
from zoo.train.compare import Run, compare
from zoo.train.evaluate import evaluate
from zoo.train.fit import fit
from zoo.train.folds import run_loso
from zoo.train.jobs import placeless
from zoo.train.launch import one_thread, quiet
from zoo.train.recipe import parse, plain_config
from zoo.types import Clip, InputSpec, Interval
from zoo.weights import add_to_index, load, save

OUT = HERE / "benchmarks" / "results" / "macro_to_micro.json"
TABLE = HERE / "benchmarks" / "macro_to_micro.md"
RECIPE = "resnet_apex_synthetic"
MICRO, SIZE = 48, 192  # people with micro-expressions; px of a frame
EMOTIONS = ("happiness", "surprise", "disgust", "happiness", "surprise", "repression")  # two of each class of own_3
FINAL_SEED = 0  # fixed beforehand: the published weights are not the best of several
INPUTS: Mapping[str, Sequence[str]] = {
    "grey": ["--model.input.channels", "[grey]"],
    "difference": ["--model.input.channels", "[difference]"],
}
# what differs from the recipe; WEIGHTS stands for the macro weights of the same input
WEIGHTS = ["--model.arch", "", "--model.weights", "{weights}"]
FROZEN = ["--model.finetune", '{freeze: ["*"]}']
WAYS: Mapping[str, Sequence[str]] = {
    "scratch": [],
    "frozen": [*WEIGHTS, *FROZEN],
    "fine_tuned": WEIGHTS,
    "discriminative": [*WEIGHTS, "--model.finetune", "{lr_decay: 0.5}"],
}
TRIED = {"grey": ("scratch", "frozen", "fine_tuned"), "difference": tuple(WAYS)}
SAID = {
    "scratch": "from scratch",
    "frozen": "macro weights, all frozen but the classifier",
    "fine_tuned": "macro weights, all fine-tuned",
    "discriminative": "the same, each stage at half the rate of the next",
    "zero_shot": "macro weights as they are",
}
INPUTS_SAID = {"grey": "The apex in grey", "difference": "The grey difference of apex and onset"}
MACRO = ["--trainer.max_epochs", "30"]  # what begins from nothing needs longer
FLOW = {"ststnet": "ststnet_megc2019", "au_flow_graph": "au_flow_graph_megc2019"}
FLOW_TRIED = {"ststnet": ("fine_tuned", "frozen"), "au_flow_graph": ("fine_tuned",)}  # frozen folds go one by one
PARTS = ("apex", "flow", "weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--portraits", type=Path, help="the London set as .npz; not needed with --tables")
    parser.add_argument("--root", help="published flow maps of MEGC2019, for the part `flow`")
    parser.add_argument("--runs", type=Path, default=HERE / "runs" / "macro_to_micro")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--macro-seeds", type=int, default=1)
    parser.add_argument("--flow-seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--tables", action="store_true", help="only write the table again, from the saved results")
    arguments = parser.parse_args()
    found: dict[str, Any] = json.loads(OUT.read_text("utf-8")) if OUT.exists() else {}
    if not arguments.tables:
        if arguments.portraits is None:
            parser.error("--portraits is needed: the clips are played on them")
        quiet()
        one_thread()
        data = Data(arguments.portraits, arguments.runs)
        found |= {"synthetic": True, "data": data.record, "recipe": RECIPE}
        for part in arguments.only or PARTS:
            match part:
                case "apex":
                    for name in INPUTS:
                        found.setdefault("apex", {})[name] = apex(name, data, arguments)
                        dump(OUT, found)
                case "flow" if arguments.root:
                    for arch in FLOW:
                        found.setdefault("flow", {})[arch] = flow(arch, data, arguments)
                        dump(OUT, found)
                case "weights":
                    publish("resnet_apex.synthetic_macro_grey", "grey", "macro", found, arguments, data)
                    publish("resnet_apex.synthetic_macro", "difference", "macro", found, arguments, data)
                    publish("resnet_apex.synthetic_micro", "difference", "micro", found, arguments, data)
                case _:
                    print("flow: left out, --root is not given")
    write_table(found)


class Data:
    """Synthetic clips and real smiles on disk, made once."""

    def __init__(self, portraits: Path, runs: Path) -> None:
        runs.mkdir(parents=True, exist_ok=True)
        self.runs, self.micro, self.macro = runs, runs / "micro", runs / "macro"
        everybody = read_portraits(portraits)
        first, others = everybody[:MICRO], everybody[MICRO:]
        common = {"size": SIZE, "flow": False}
        micro = Settings(subjects=len(first), fps=50.0, style="casme2", emotions=EMOTIONS, clips=12, **common)
        macro = Settings(
            layout="csv", subjects=len(others), fps=12.0, style="casme_sq_macro",
            emotions=("positive", "surprise", "negative"), clips=24, letters="CDE", **common,
        )  # fmt: skip
        for settings, people, folder in ((micro, first, self.micro), (macro, others, self.macro)):
            write_dataset(settings, people, folder, progress=tell(folder.name))
        pairs = smiles(portraits, everybody)  # by person
        add_smiles(self.macro, [pairs[p.name] for p in others])
        self.unseen_smiles = [pairs[p.name] for p in first]
        for name, folder in (("casme2", self.micro), ("csv", self.macro)):
            if not self.manifest(folder).exists():
                read(name, folder).write(self.manifest(folder))
        if not self.dealt.exists():
            deal(Manifest.load(self.manifest(self.micro)), self.dealt)
        self.record = {
            "micro": {"people": len(first), "clips": 12 * len(first), "style": micro.style, "emotions": list(EMOTIONS)},
            "macro": {"people": len(others), "clips": 24 * len(others), "style": macro.style, "intensities": macro.letters, "real_smiles": len(others)},
            "size": SIZE, "portraits": ATTRIBUTION,
        }  # fmt: skip

    @staticmethod
    def manifest(folder: Path) -> Path:
        return folder.with_suffix(".parquet")

    @property
    def dealt(self) -> Path:
        """The micro clips, each with the label of another."""
        return self.runs / "dealt.parquet"

    def flags(self, folder: Path, manifest: Path | None = None) -> list[str]:
        """Where a recipe finds the clips; four folds of persons."""
        return [
            "--data.manifest", str(manifest or self.manifest(folder)), "--data.frames", str(folder),
            "--data.cache", str(self.runs / "cache"), "--data.scheme", "kfold:4",
        ]  # fmt: skip

    def clips(self, folder: Path, spec: InputSpec) -> Any:
        """Prepared as a network eats them."""
        return Source.of(plain_config(parse([RECIPE], self.flags(folder)))["data"]).load(spec)


def smiles(path: Path, people: Sequence[Portrait]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Neutral and smiling photograph of each person, the second moved onto the first by the eyes and the bridge of the nose."""
    from zoo.vision.facemesh import ibug_index

    table = dict(np.load(path, allow_pickle=False))  # each look into the file itself would unpack an array anew
    still = np.r_[27:31, 36:48]  # landmarks that a smile moves least
    neutral, found = {p.name: p for p in people}, {}
    for i in np.flatnonzero(table["expression"] == 1):
        person = neutral[str(table["face_id"][i])]
        picture = cv2.imdecode(table["jpeg"][table["offset"][i] : table["offset"][i + 1]], cv2.IMREAD_COLOR)[..., ::-1]
        points = table["landmarks478"][i].astype(np.float64)[ibug_index()]
        matrix, _ = cv2.estimateAffinePartial2D(points[still], person.landmarks[still], method=cv2.LMEDS)
        height, width = person.picture.shape[:2]
        moved = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        placed = Portrait(name=person.name, picture=moved, landmarks=person.landmarks)
        found[person.name] = person.framed(SIZE).picture, placed.framed(SIZE).picture
    return found


def add_smiles(folder: Path, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Two frames a person, as one more clip of theirs in the table."""
    table = folder / "clips.csv"
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))
    if any(row["clip"] == "smile" for row in rows):
        return
    for number, pair in enumerate(pairs, 1):
        place = folder / "clips" / f"s{number:03d}" / "smile"
        place.mkdir(parents=True, exist_ok=True)
        for k, picture in enumerate(pair, 1):
            cv2.imwrite(str(place / f"img_{k:04d}.png"), picture[..., ::-1])
        rows.append({
            "id": f"s{number:03d}_smile", "subject": f"s{number:03d}", "clip": "smile", "path": f"clips/s{number:03d}/smile",
            "onset": "1", "apex": "2", "offset": "2", "emotion": "positive", "aus": "",
        })  # fmt: skip
    for row in rows:
        row["kind"] = "sequence"  # as in CK+ and its like: macro-expressions and nothing else
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    partial = table.with_suffix(".partial")
    partial.write_text(text.getvalue(), "utf-8")
    partial.replace(table)


def apex(name: str, data: Data, arguments: argparse.Namespace) -> dict[str, Any]:
    """One input: macro weights of every seed, then the ways on micro clips, from the weights of the fixed seed."""
    runs, macro = arguments.runs / name, []
    for seed in range(arguments.macro_seeds):
        folder = runs / f"macro-{seed}"
        if not (folder / "run.json").exists():
            fit(
                [RECIPE],
                [*INPUTS[name], *data.flags(data.macro), "--data.fold", "1/4"],
                seed=seed,
                folder=folder,
                progress=False,
            )
        macro.append(json.loads((folder / "run.json").read_text("utf-8")))
        print(f"{folder}: {macro[-1]['test']}", flush=True)
    start = f"local-dir:{runs / f'macro-{FINAL_SEED}' / 'checkpoint'}"
    summaries: dict[str, Any] = {}
    for way in TRIED[name]:
        flags = [part.replace("{weights}", start) for part in WAYS[way]]
        summaries[way] = cross_validated(way, [*INPUTS[name], *data.flags(data.micro), *flags], runs, arguments)
    dealt = [
        *INPUTS[name],
        *data.flags(data.micro, data.dealt),
        *(part.replace("{weights}", start) for part in WEIGHTS),
    ]
    chance = cross_validated("dealt", dealt, runs, arguments, seeds=1)
    together = compare([Run.read(runs / way) for way in summaries])
    model = load(start)
    return {
        "macro": {
            "unseen_people": {m: over([run["test"][f"test/{m}"] for run in macro]) for m in ("uf1", "uar", "accuracy")},
            "train_clips": macro[0]["train_clips"], "digests": macro[FINAL_SEED]["digests"],
            "real_smiles_read_as_positive": smiling(model, data), "zero_shot": zero_shot(model, data),
        },
        "micro": {way: s["metrics"]["full"] for way, s in summaries.items()} | {"dealt": chance["metrics"]["full"]},
        "digests": {way: s["digests"] for way, s in summaries.items()},
        "compared_with_scratch": {p["name"]: p["parts"]["full"] for p in together["pairs"]},
        "people": together["people"], "clips": together["clips"],
        "true_units_looked_up": ceiling(data),
    }  # fmt: skip


def cross_validated(
    way: str, flags: Sequence[str], runs: Path, arguments: argparse.Namespace, seeds: int | None = None
) -> dict[str, Any]:
    """The run folder of one way: four folds of persons, every seed."""
    config = plain_config(parse([RECIPE], list(flags)))
    summary = run_loso(
        config, out=runs / way, seeds=range(seeds or arguments.seeds), workers=arguments.workers, on_progress=tell(f"{runs.name} {way}")
    )  # fmt: skip
    print(f"{runs.name} {way}: {summary['metrics']['full']['uf1']}", flush=True)
    return summary


def zero_shot(model: Any, data: Data) -> dict[str, float]:
    """Macro weights on micro clips, no one of which they have seen."""
    clips = data.clips(data.micro, model.input_spec)
    return {k: float(v) for k, v in evaluate(model, clips)["metrics"]["full"].items()}


def smiling(model: Any, data: Data) -> float:
    """Share of real smiles, of people whom nothing was trained on, that are read as positive."""
    detector, hits = face_detector(), []
    for number, pair in enumerate(data.unseen_smiles):
        clip = Clip(
            id=f"smile{number}",
            dataset="london",
            subject=str(number),
            frames=list(pair),
            interval=Interval(onset=0, apex=1),
        )
        x = prepare(aligned_clip(clip, detector), model.input_spec)
        with torch.inference_mode():
            hits.append(model.classes[int(model(torch.from_numpy(x)[None]).argmax())] == "positive")
    return float(np.mean(hits))


def ceiling(data: Data) -> dict[str, float]:
    """How far the true set of action units tells the class: the ceiling of whatever sees only the face."""
    clips = data.clips(data.micro, parse([RECIPE], []).model.input_spec)
    told = np.zeros(len(clips), np.int64)
    for fold in clips.split():
        told[list(fold.test)] = looked_up(clips, fold.train, fold.test)
    return {k: float(v) for k, v in scores(clips.labels, told, len(clips.classes))["full"].items()}


def flow(arch: str, data: Data, arguments: argparse.Namespace) -> dict[str, Any]:
    """Real micro-expressions: the recipe of the leaderboard from macro weights, under leave one subject out."""
    runs, recipe = arguments.runs / arch, FLOW[arch]
    folder = runs / "macro"
    if not (folder / "run.json").exists():
        places = [*data.flags(data.macro), "--data.protocol", "own_3", "--data.complete", "false", "--data.fold", "1/4"]
        fit([recipe], places, seed=FINAL_SEED, folder=folder, progress=False)
    macro = json.loads((folder / "run.json").read_text("utf-8"))
    print(f"{folder}: {macro['test']}", flush=True)
    weights = [part.replace("{weights}", f"local-dir:{folder / 'checkpoint'}") for part in WEIGHTS]
    started = load(f"local-dir:{folder / 'checkpoint'}")
    real = evaluate(started, arguments.root)["metrics"]["full"]
    scratch = HERE / "benchmarks" / "results" / "megc2019" / f"{arch}.json"
    files = {"scratch": scratch}
    for way in FLOW_TRIED[arch]:
        flags = weights if way == "fine_tuned" else [*weights, *FROZEN]
        run_loso(
            plain_config(parse([recipe], ["--data.root", arguments.root, *flags])), out=runs / way, seeds=range(arguments.flow_seeds),
            workers=arguments.workers, parallel="compiled" if way == "fine_tuned" else False, on_progress=tell(f"{arch} {way}"),
        )  # fmt: skip
        files[way] = runs / way / "loso.json"
    together = compare([Run.read(path) for path in files.values()])
    metrics = {way: json.loads(path.read_text("utf-8"))["metrics"]["full"] for way, path in files.items()}
    return {
        "recipe": recipe, "macro": {"unseen_people": {k.removeprefix("test/"): v for k, v in macro["test"].items()}},
        "real_without_a_real_clip": {k: float(v) for k, v in real.items()}, "loso": metrics,
        "compared_with_scratch": {way: p["parts"]["full"] for way, p in zip(list(files)[1:], together["pairs"], strict=True)},
        "people": together["people"], "clips": together["clips"],
    }  # fmt: skip


def publish(
    name: str, form: str, stage: str, found: Mapping[str, Any], arguments: argparse.Namespace, data: Data
) -> None:
    """Write a checkpoint's folder and its entry in the index; storing it in half precision may not move its score."""
    result, target = found["apex"][form], HERE / "checkpoints" / name
    if stage == "macro":
        folder, flags = arguments.runs / form / f"macro-{FINAL_SEED}", data.flags(data.macro)
        metrics = {"full": result["macro"]["unseen_people"]}
        seen = f"synthetic macro-expressions on {data.record['macro']['people']} portraits and {data.record['macro']['real_smiles']} real smiles"
        protocol = "three quarters of the people to train, unseen ones to test"
    else:
        folder, flags = arguments.runs / form / "micro", data.flags(data.micro)
        start = f"local-dir:{arguments.runs / form / f'macro-{FINAL_SEED}' / 'checkpoint'}"
        change = [part.replace("{weights}", start) for part in WAYS["fine_tuned"]]
        if not (folder / "run.json").exists():
            fit(
                [RECIPE],
                [*INPUTS[form], *flags, *change, "--data.fold", "1/4"],
                seed=FINAL_SEED,
                folder=folder,
                progress=False,
            )
        metrics = {"full": result["micro"]["fine_tuned"]}
        seen = f"synthetic macro- and micro-expressions on {data.record['macro']['people'] + data.record['micro']['people']} portraits and {data.record['macro']['real_smiles']} real smiles"
        protocol = "four folds of persons, unseen ones to test"
    run = json.loads((folder / "run.json").read_text("utf-8"))
    model = load(f"local-dir:{folder / 'checkpoint'}")
    config = {**run["config"], "data": placeless(run["config"]["data"])}
    config["model"] = {**config["model"], "weights": "resnet_apex.synthetic_macro" if stage == "micro" else ""}
    record = {
        **{k: v for k, v in run.items() if k not in ("loss", "config")}, "config": config, "synthetic": True,
        "metrics": metrics, "compared": result["micro"], "classes": list(model.classes), "parameters": sum(p.numel() for p in model.parameters()), "licence": LICENCE,
        "attribution": ATTRIBUTION, "trained_on": [seen], "protocol": protocol, "half": True,
    }  # fmt: skip
    save(model, target, classes=model.classes, card=card(name, form, stage, record, found), half=True, record=record)
    clips = data.clips(data.macro if stage == "macro" else data.micro, model.input_spec)
    held_out = list(pick_fold(clips, "1/4").test)
    again = evaluate(load(f"local-dir:{target}"), clips)["predictions"]
    told = np.array([model.classes.index(again[i].label) for i in held_out])
    uf1 = float(scores(clips.labels[held_out], told, len(clips.classes))["full"]["uf1"])
    if abs(uf1 - run["test"]["test/uf1"]) > 0.005:
        raise SystemExit(f"{name}: storing it changed UF1 from {run['test']['test/uf1']:.4f} to {uf1:.4f}")
    entry = {
        "arch": model.arch, "recipe": RECIPE, "synthetic": True, "licence": LICENCE, "attribution": ATTRIBUTION,
        "trained_on": record["trained_on"], "protocol": protocol, "metrics": metrics, "digests": run["digests"],
        "parameters": record["parameters"], "classes": list(model.classes), "repo": None, "revision": None,
    }  # fmt: skip
    add_to_index(HERE / "checkpoints", {name: entry})
    print(f"{target}: {sum(f.stat().st_size for f in target.iterdir()) / 1e6:.2f} MB, UF1 {uf1:.4f} on fold 1/4")


def card(name: str, form: str, stage: str, record: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Model card, from the record."""
    full, result, people = record["metrics"]["full"], found["apex"][form], found["data"]
    told = result["macro"]
    smile, strange = told["real_smiles_read_as_positive"], told["zero_shot"]["uf1"]
    kind = "macro-expressions" if stage == "macro" else "micro-expressions"
    shown = {"grey": "the apex frame, in grey", "difference": "the grey difference of apex and onset frame"}[form]
    rows = "\n".join(
        f"| {SAID[way]} | {spread(values['uf1'])} | {spread(values['uar'])} |"
        for way, values in result["micro"].items()
        if way in SAID
    )
    use = (
        "A start for fine-tuning on micro-expressions: `zoo train --config base/macro_to_micro --model.weights "
        f"{name} --data.manifest … --data.frames … --data.protocol own_3`."
        if stage == "macro"
        else f"`zoo predict clip.mp4 --model {name}` reads a video; `--model.weights {name}` starts a fine-tune."
    )
    return f"""---
library_name: au-graph-zoo
license: cc-by-4.0
pipeline_tag: image-classification
tags: [micro-expression, macro-expression, transfer-learning, synthetic]
model-index:
- name: {name}
  results:
  - task: {{type: image-classification, name: {kind.removesuffix("s")} recognition}}
    dataset: {{type: synthetic, name: 'synthetic {kind} (unseen portraits)'}}
    metrics:
    - {{type: uf1, value: {full["uf1"]["mean"]:.4f}, name: 'UF1 on synthetic clips, {runs_in_words(full["uf1"]["seeds"])}'}}
    - {{type: uar, value: {full["uar"]["mean"]:.4f}, name: 'UAR on synthetic clips'}}
---

# {name}

**Trained and tested on synthetic clips**{" and real smiles" if stage == "macro" else ", from weights that had seen synthetic macro-expressions and real smiles"}.
A ResNet10 (timm's `resnet10t`) on {shown}, {record["parameters"]:,} parameters; classes: {", ".join(record["classes"])}.

```python
import zoo
model = zoo.load("{name}")    # eval mode; model.input_spec, model.classes, model.card
```

{use}
After Peng, Wu, Zhang, Chen: From Macro to Micro Expression Recognition, IEEE FG 2018.

## Data and licence

Macro-expressions: {people["macro"]["clips"]} clips played by `zoo synth` on neutral portraits of {people["macro"]["people"]} people (sets of action units as counted in the
macro-expressions of CAS(ME)², FACS intensities C to E), and the real smiling photograph of each against the neutral one, as positive.
{f"Micro-expressions: {people['micro']['clips']} clips on {people['micro']['people']} other people, sets of action units as counted in CASME II, faint and brief." if stage == "micro" else "Trained on three quarters of the people."}
Portraits: {ATTRIBUTION}.
**Licence of these weights: CC BY 4.0, with that attribution.** No portrait is contained in them or in this project.

## How good it is

On {"synthetic macro-expressions and smiles" if stage == "macro" else "synthetic micro-expressions"} of people never seen ({runs_in_words(full["uf1"]["seeds"])}, the last epoch): UF1 {spread(full["uf1"])}, UAR {spread(full["uar"])}.
The published weights are seed {record["seed"]}, of the people outside fold 1/4.
{f"Of the real smiles of {people['micro']['people']} people whom nothing was trained on, {smile:.0%} are read as positive. As they are, without fine-tuning, the weights reach UF1 {strange:.3f} on synthetic micro-expressions." if stage == "macro" else ""}

What the macro weights give on synthetic micro-expressions ({result["people"]} people, {result["clips"]} clips, four folds of persons):

| | UF1 | UAR |
|---|---|---|
{rows}

`python benchmarks/macro_to_micro.py --portraits FILE` makes it all again, with the paired tests. Recipe `{RECIPE}`. Digests: split
`{record["digests"]["split"][:16]}`, inputs `{record["digests"]["inputs"][:16]}`, config `{record["digests"]["config"][:16]}`.

## What it cannot do

It has never seen a micro-expression of a person. Synthetic skin slides; it does not fold, shade or bulge, and lips part without teeth: what
smiles taught it about teeth is of no use on faint expressions. {"In grey, an apex alone does not tell a faint expression from a face that looks so at rest: see the table. " if form == "grey" else "Light that changes between onset and apex is a difference too, and so is a turn of the head. "}
The portraits are frontal, in studio light. It always names a class: it cannot say that nothing happened.

{MISUSE.rpartition(" It was trained")[0]} It was trained and tested on synthetic clips{" and smiles" if stage == "macro" else ""} alone.
"""


def write_table(found: Mapping[str, Any]) -> None:
    """Write benchmarks/macro_to_micro.md."""
    micro, macro = found["data"]["micro"], found["data"]["macro"]
    lines = [
        "# Macro to micro: what large expressions teach about faint ones",
        "",
        f"**Synthetic** people: {micro['clips']} micro-expressions on {micro['people']} portraits (scripts of CASME II), {macro['clips']} macro-expressions on {macro['people']} others",
        f"(scripts of CAS(ME)², intensities C to E) and their {macro['real_smiles']} real smiles. {ATTRIBUTION}.",
        f"Recipe `{found['recipe']}`, one thing changed at a time; unseen people, four folds of persons, last epoch. Difference: UF1 against from scratch, with the 95 %",
        "interval from resampling persons (paired), its p corrected for the number of comparisons (Holm), and McNemar's p over clips. Written by",
        "`benchmarks/macro_to_micro.py` from `benchmarks/results/macro_to_micro.json`.",
    ]  # fmt: skip
    for form, result in found.get("apex", {}).items():
        told = result["macro"]
        lines += [
            "", f"## {INPUTS_SAID[form]}", "",
            f"Macro weights, on macro-expressions of unseen people: UF1 {spread(told['unseen_people']['uf1'])}. Of the real smiles of {micro['people']} people whom nothing was trained on,",
            f"{told['real_smiles_read_as_positive']:.0%} are read as positive. On micro-expressions, as they are: UF1 {told['zero_shot']['uf1']:.3f}.",
            "", "| | seeds | UF1 | UAR | difference | interval | p (Holm) | McNemar p |", "|---|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for way in TRIED[form]:
            lines.append(_row(SAID[way], result["micro"][way], result["compared_with_scratch"].get(way)))
        lines.append(_row("labels dealt at random, macro weights fine-tuned", result["micro"]["dealt"], None))
        ceiling = result["true_units_looked_up"]
        lines.append(f"| the true action units, looked up | 1 | {ceiling['uf1']:.3f} | {ceiling['uar']:.3f} | | | | |")
    if found.get("flow"):
        lines += [
            "", "## Flow, on the real MEGC2019 composite: leave one subject out", "",
            "Macro weights from TV-L1 flow of the same macro clips and smiles; the recipes and the runs from scratch are those of the leaderboard.",
            "", "| | seeds | UF1 | UAR | difference | interval | p (Holm) | McNemar p |", "|---|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for arch, result in found["flow"].items():
            for way, values in result["loso"].items():
                lines.append(_row(f"{arch}, {SAID[way]}", values, result["compared_with_scratch"].get(way)))
            zero = result["real_without_a_real_clip"]
            lines.append(f"| {arch}, {SAID['zero_shot']} | 1 | {zero['uf1']:.3f} | {zero['uar']:.3f} | | | | |")
    TABLE.write_text("\n".join(lines) + "\n", "utf-8")


def _row(said: str, values: Mapping[str, Any], against: Mapping[str, Any] | None) -> str:
    cells = ["", "", "", ""]
    if against is not None:
        uf1 = against["uf1"]
        low, high = uf1["interval"]
        cells = [
            f"{uf1['difference']:+.3f}",
            f"{low:+.3f} .. {high:+.3f}",
            f"{uf1['p_holm']:.3f}" if uf1["p_holm"] >= 0.001 else "< 0.001",
            f"{against['mcnemar']['p']:.3g}",
        ]
    return (
        f"| {said} | {values['uf1']['seeds']} | {spread(values['uf1'])} | {spread(values['uar'])} | "
        + " | ".join(cells)
        + " |"
    )


if __name__ == "__main__":
    main()
