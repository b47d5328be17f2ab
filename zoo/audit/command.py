"""``zoo audit``: what stands behind a score. Tables as CSV and JSON, and a figure, in one folder."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.audit.recognise import Asked


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code."""
    parser = _parser()
    arguments, overrides = parser.parse_known_args(argv)
    if overrides and not getattr(arguments, "config", None):
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    arguments.overrides = overrides
    arguments.run(arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoo audit",
        description="What stands behind a score: halves of the face, groups of people, regions that decide, what units can tell.",
    )
    kinds = parser.add_subparsers(title="audits", metavar="AUDIT", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, metavar="DIR", help="where tables and figure go (default out/audit-NAME)")
    common.add_argument(
        "--resamples", type=int, default=10_000, metavar="N", help="of the bootstrap over people (default 10000)"
    )

    asked = argparse.ArgumentParser(add_help=False)
    who = asked.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--model", metavar="NAME", help="pretrained weights; clips that they were trained on are counted and told"
    )
    who.add_argument(
        "--config", action="append", metavar="RECIPE",
        help="train each fold anew by this recipe: every person is judged unseen; repeat to overlay",
    )  # fmt: skip
    asked.add_argument("--root", metavar="PATH", help="published MEGC2019 folder or .npz")
    asked.add_argument("--manifest", metavar="PATH", help="in place of --root: what `zoo data build` wrote")
    asked.add_argument("--frames", metavar="DIR", help="with --manifest: where the frames lie")
    asked.add_argument("--protocol", metavar="NAME", help="with --manifest: classes and folds")
    asked.add_argument(
        "--faces", choices=("detect", "cropped"), help="with --manifest: raw frames, or the release's own crops"
    )
    asked.add_argument("--partial", action="store_true", help="allow other counts than the organisers published")
    asked.add_argument("--seed", type=int, default=0, help="of the folds' trainings")
    asked.add_argument(
        "--aus", default="cross12", metavar="SET", help="units whose regions are looked at (default cross12)"
    )

    fields = (
        "With --config, every field of the recipe is a flag too: --trainer.max_epochs 5 --data.macro '{root: OTHERS}'"
    )
    halves = kinds.add_parser(
        "hemiface", parents=[common, asked], help="left against right half of the face", epilog=fields
    )
    halves.set_defaults(run=_hemiface)
    hidden = kinds.add_parser("occlusion", parents=[common, asked], help="hide the region of each action unit in turn",
                              epilog=fields)  # fmt: skip
    hidden.set_defaults(run=_occlusion)

    bias = kinds.add_parser("bias", parents=[common], help="scores of groups of people, from a finished run")
    bias.add_argument("loso", type=Path, help="run folder of `zoo loso`, or its loso.json")
    bias.add_argument("--by", default="dataset", metavar="COLUMN", help="what makes the groups (default dataset)")
    bias.add_argument(
        "--table", type=Path, metavar="PATH", help="manifest, or CSV with key or subject (and dataset), and the column"
    )
    bias.set_defaults(run=_bias)

    top = kinds.add_parser("ceiling", parents=[common], help="how much of the emotion the action units tell")
    top.add_argument("manifest", type=Path, help="table of clips, as written by `zoo data build`")
    top.add_argument("--protocol", required=True, metavar="NAME", help="classes and clips")
    top.add_argument("--aus", default="cross12", metavar="SET", help="which units (default cross12)")
    top.set_defaults(run=_ceiling)
    return parser


def _ask(arguments: argparse.Namespace) -> Asked:
    from zoo.audit.recognise import ask_checkpoint, ask_folds

    places = {k: getattr(arguments, k) for k in ("root", "manifest", "frames", "protocol", "faces")}
    given = {k: v for k, v in places.items() if v is not None}
    if bool(arguments.root) == bool(arguments.manifest):
        raise ZooError("name the data: either --root (MEGC2019 maps), or --manifest with --frames and --protocol")
    if arguments.partial:
        given["complete"] = False
    if arguments.model:
        return ask_checkpoint(arguments.model, given)
    overrides = [
        part for k, v in given.items() for part in (f"--data.{k}", str(v).lower() if isinstance(v, bool) else v)
    ]
    return ask_folds(arguments.config, [*overrides, *arguments.overrides], seed=arguments.seed, on_fold=_tell)


def _tell(done: int, total: int) -> None:
    print(f"\rfold {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _hemiface(arguments: argparse.Namespace) -> None:
    from zoo.audit.figures import hemiface_figure
    from zoo.audit.hemiface import PAIRS, VIEWS, asymmetries, compare_halves
    from zoo.audit.occlusion import shown_units
    from zoo.data.flow_maps import FlowMaps
    from zoo.facs.action_units import ACTION_UNITS, au_set

    asked = _ask(arguments)
    result = compare_halves(asked, resamples=arguments.resamples)
    found = []
    if isinstance(asked.data, FlowMaps):
        sided = [au for au in shown_units(au_set(arguments.aus), asked.spec.crop) if ACTION_UNITS[au].lateral]
        found = asymmetries(asked.data, sided, asked.spec.crop, resamples=arguments.resamples)
    views = [
        {"part": part, "view": view, **_flat(scores[view])} for part, scores in result["views"].items() for view in VIEWS
    ]  # fmt: skip
    pairs = [
        {"part": part, "pair": pair, **_flat({m: values[pair][m] for m in ("uf1", "uar")}),
         **{f"mcnemar_{k}": v for k, v in values[pair]["mcnemar"].items()}}
        for part, values in result["differences"].items() for pair in PAIRS
    ]  # fmt: skip
    tables = {"views": views, "differences": pairs}
    if found:
        tables["asymmetry"] = [asdict(a) for a in found]
    out = _save(arguments, "hemiface", tables, {**result, "asymmetry": [asdict(a) for a in found]},
                hemiface_figure(result, found))  # fmt: skip
    print(f"{result['model']}: {result['clips']} clips, {result['people']} people; {result['remark']}")
    for view, words in VIEWS.items():
        print(f"  {view:<6} UF1 {_told(result['views']['full'][view]['uf1'])}   {words}")
    for pair, value in result["differences"]["full"].items():
        print(
            f"  {pair:<17} UF1 {_told(value['uf1'], sign=True)} p {value['uf1']['p']:.3g}; McNemar p {value['mcnemar']['p']:.3g}"
        )
    if found:
        strong = [a for a in found if a.emotion == "all" and a.p_holm < 0.05]
        names = ", ".join(f"AU{a.au} {a.mean:+.3f}" for a in strong) or "none"
        print(f"  motion is asymmetric (right above left is positive; corrected p < 0.05): {names}")
    print(f"written: {out}")


def _occlusion(arguments: argparse.Namespace) -> None:
    from zoo.audit.figures import occlusion_figure
    from zoo.audit.occlusion import occlusion, shown_units
    from zoo.facs.action_units import au_set

    asked = _ask(arguments)
    aus = shown_units(au_set(arguments.aus), asked.spec.crop)
    drops = occlusion(asked, aus, resamples=arguments.resamples)
    rows = [asdict(d) for d in drops]
    content = {"model": asked.name, "clean": asked.clean, "remark": asked.remark, "drops": rows}
    out = _save(
        arguments, "occlusion", {"drops": rows}, content, occlusion_figure(drops, f"{asked.name}: {asked.remark}")
    )
    print(
        f"{asked.name}: {len(asked.data)} clips; {asked.remark}\nfall of the true class's probability when a region is hidden:"
    )
    for d in sorted((d for d in drops if d.emotion == "all"), key=lambda d: -d.drop):
        beside = f"{d.flips:.0%} of answers change; {d.area:.1%} of the picture"
        print(f"  AU{d.au:<3} {d.drop:+.3f} [{d.low:+.3f}, {d.high:+.3f}]  {beside}")
    print(f"written: {out}")


def _bias(arguments: argparse.Namespace) -> None:
    from zoo.audit.bias import group_bias, groups_of
    from zoo.audit.figures import bias_figure
    from zoo.train.compare import Run

    run = Run.read(arguments.loso)
    result = group_bias(
        run, groups_of(run, arguments.by, arguments.table), by=arguments.by, resamples=arguments.resamples
    )
    rows = [
        {"group": name, "clips": g["clips"], "people": g["people"], **_flat({m: g[m] for m in ("uar", "uf1", "accuracy")})}
        for name, g in result["groups"].items()
    ]  # fmt: skip
    odds = [{"class": name, **values} for name, values in result["odds"].items()]
    out = _save(arguments, "bias", {"groups": rows, "odds": odds}, {"run": run.name, **result}, bias_figure(result))
    print(
        f"{run.name} by {arguments.by}: {len(run.keys) - result['left_out']} clips, {result['left_out']} without a group left out"
    )
    for name, group in sorted(result["groups"].items(), key=lambda item: item[1]["uar"]["value"]):
        print(f"  {name:<16} UAR {_told(group['uar'])}  {group['clips']} clips, {group['people']} people")
    low, high = result["gap"]["interval"]
    print(f"  worst {result['worst']['group']}; largest gap {result['gap']['uar']:.3f} [{low:.3f}, {high:.3f}]")
    for name, gap in result["odds"].items():
        told = "cannot be told" if gap["difference"] is None else f"{gap['difference']:.3f}"
        print(f"  equalised odds, {name}: difference {told}")
    print(f"  UAR over people: mean {result['people']['mean']:.3f}, lowest tenth {result['people']['p10']:.3f}")
    for note in result["notes"]:
        print(f"  note: {note}")
    print(f"written: {out}")


def _ceiling(arguments: argparse.Namespace) -> None:
    import numpy as np

    from zoo.audit.ceiling import READERS, ceiling
    from zoo.audit.figures import ceiling_figure
    from zoo.data.manifest import Manifest
    from zoo.data.protocols import split
    from zoo.facs.action_units import au_set
    from zoo.facs.coding import multi_hot, parse

    aus = au_set(arguments.aus)
    manifest = Manifest.load(arguments.manifest)
    made = split(manifest, arguments.protocol, strict=False)
    if made.multilabel:
        raise ZooError(f"the classes of {arguments.protocol} are action units: name a protocol of emotions")
    cells = manifest.table.loc[list(made.keys), "aus"]
    rows = [
        None if missing else multi_hot(parse(str(cell)), aus) for cell, missing in zip(cells, cells.isna(), strict=True)
    ]
    kept = [k for k, row in enumerate(rows) if row is not None]
    if not kept:
        raise ZooError(f"no clip of {arguments.protocol} in {arguments.manifest} has its action units coded")
    result = ceiling(
        np.asarray([rows[k] for k in kept]), made.targets[kept], [made.people[k] for k in kept], made.classes,
        datasets=[made.datasets[k] for k in kept], resamples=min(arguments.resamples, 2000),
    )  # fmt: skip
    for entry in result["ambiguous"]:
        entry["aus"] = "+".join(str(aus[k]) for k in entry.pop("columns")) or "none of them"
    table = [
        {"reader": name, "scored_on": way, **_flat(scores)}
        for name, ways in result["readers"].items() for way, scores in ways.items()
    ]  # fmt: skip
    doubt = [
        {"aus": e["aus"], "clips": e["clips"], **{f"of_{k}": v for k, v in e["labels"].items()}}
        for e in result["ambiguous"]
    ]
    title = f"{arguments.protocol}: emotion from action units, {len(kept)} clips"
    out = _save(arguments, "ceiling", {"scores": table, "ambiguous": doubt}, {"aus": list(aus), **result},
                ceiling_figure(result, title))  # fmt: skip
    left_out = f"{len(rows) - len(kept)} clips without coded units left out"
    print(f"{title}, {result['people']} people, {result['sets']} sets of units; {left_out}")
    for name, ways in result["readers"].items():
        same, other = _told(ways["same"]["uf1"]), _told(ways["loso"]["uf1"])
        print(f"  {name:<9} same clips UF1 {same}, people left out {other}  {READERS[name]}")
    for entry in result["ambiguous"][:5]:
        labels = ", ".join(f"{k} {v}" for k, v in entry["labels"].items())
        print(f"  AU {entry['aus']} means {labels}")
    print(f"written: {out}")


def _told(score: Mapping[str, Any], *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    low, high = score["interval"]
    return f"{score['value']:{form}} [{low:{form}}, {high:{form}}]"


def _flat(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One row: value, low and high of each metric, and its p where there is one."""
    out: dict[str, Any] = {}
    for metric, score in scores.items():
        out[metric], (out[f"{metric}_low"], out[f"{metric}_high"]) = score["value"], score["interval"]
        if "p" in score:
            out[f"{metric}_p"] = score["p"]
    return out


def _save(
    arguments: argparse.Namespace,
    name: str,
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    content: Any,
    figure: Figure,
) -> Path:
    from zoo.train.store import write_text

    folder = arguments.out if arguments.out is not None else Path("out") / f"audit-{name}"
    for table, rows in tables.items():
        write_text(folder / f"{table}.csv", _csv(rows))
    write_text(folder / f"{name}.json", json.dumps(_plain(content), indent=1) + "\n")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    half = folder / f".{name}.png"
    try:
        half.write_bytes(picture.getvalue())
        half.replace(folder / f"{name}.png")
    except OSError as error:
        raise ZooError(f"cannot write to {folder}: {error}; name another folder with --out") from None
    return folder


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(k for row in rows for k in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def _plain(value: Any) -> Any:
    """JSON has no NaN: what cannot be told is null."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
