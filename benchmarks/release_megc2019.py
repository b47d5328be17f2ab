"""Regenerate everything that is published about the MEGC2019 composite, from one command.

    python benchmarks/release_megc2019.py --root PATH/TO/norm_u_v_os --workers 2

Runs (or resumes) leave-one-subject-out of every recipe, the baselines, trains the published weights on all clips, and
writes checkpoints/, benchmarks/results/megc2019/, benchmarks/leaderboard.md and the table in README.md. An hour or two on two
cores; ``--only NAME`` does one recipe; ``--oracle 1`` measures the leak of choosing epochs on the tested person.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.card import PARTS, megc2019_card, spread
from zoo.data.megc2019 import read_megc2019
from zoo.metrics import scores
from zoo.models._base import ZooModel
from zoo.registry import entries
from zoo.train.baselines import run_baseline
from zoo.train.commands import fit, print_scores
from zoo.train.evaluate import evaluate
from zoo.train.folds import run_loso
from zoo.train.launch import quiet
from zoo.train.recipe import parse, plain_config
from zoo.train.stacked import why_not
from zoo.weights import add_to_index, save

HERE = Path(__file__).resolve().parent.parent
RESULTS = HERE / "benchmarks" / "results" / "megc2019"
SEEDS = 5
FINAL_SEED = 0  # fixed beforehand: the published weights are not the best of several

PAPERS = {
    "ststnet": (
        "Liong, Gan, See, Khor, Huang: Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition, "
        "IEEE FG 2019, arXiv:1902.03634.",
        "Reading: padding 1 and ReLU before batch normalisation, as in the authors' MATLAB network. Trained here with mirrored and "
        "shifted copies and a one-cycle schedule, not with the authors' script.",
    ),
    "off_apexnet": (
        "Gan, Liong, Yau, Huang, Tan: OFF-ApexNet on micro-expression recognition system, Signal Processing: Image "
        "Communication 74, 2019, arXiv:1805.08699.",
        "Reading: ReLU after the convolutions and dropout after both wide layers, where the paper is silent.",
    ),
    "dual_inception": (
        "Zhou, Mao, Xue: Dual-Inception Network for Cross-Database Micro-Expression Recognition, IEEE FG 2019.",
        "Reading: one channel per stream (the authors' PNGs repeat it three times), trained on the whole composite of the "
        "fold, not on the authors' split by database.",
    ),
    "rcn_f": (
        "Xia, Peng, Khor, Feng, Zhao: Revealing the Invisible with Model and Data Shrinking for Composite-database Micro-expression "
        "Recognition, IEEE TIP 29, 2020, arXiv:2006.09674.",
        "Reading: all three streams of the wide stem run (the release calls the second twice); 32 maps, pooled to 5x5, fed at the 28 px "
        "in which the maps are published, where the release uses about 60.",
    ),
    "sssnet": (
        "Varanka, Peng, Zhao: Micro-expression recognition with noisy labels, IS&T Electronic Imaging 2021.",
        "The network wants 64 px; the maps are published at 28 px and were **enlarged from 28 to 64 px**, which adds no detail.",
    ),
}

BASELINES = {
    "svm_robust": "support vector machine on block means, robust scaling",
    "svm": "support vector machine on block means",
    "majority": "always the majority",
}
NETWORKS = tuple(PAPERS)
# by benchmarks/release_au_flow_graph.py
PAPERS["au_flow_graph"] = (
    "No paper: a design of this project, see `zoo/models/au_flow_graph.py`.",
    "Regions of action units, left and right tied, edges from the annotation statistics of CAS(ME)^3 (nobody of the composite) and a "
    "learned part. The motion is scaled robustly: about its own median, in units "
    "of the usual size, larger values squashed; that scaling was chosen among a dozen by a support vector machine on block means under grouped "
    "10-fold cross-validation over persons (three partitions). The published maps come without action units: **what these weights say about units was "
    "learnt on synthetic maps and never checked on real ones.** What each ingredient gave is in `benchmarks/results/au_flow_graph.json`.",
)

# (UF1, UAR) full, SMIC, CASME II, SAMM; and whether the evaluation is clean, with the reason
PUBLISHED: dict[str, tuple[str, str]] = {
    "LBP-TOP (challenge baseline, 2019)": (".588/.579 .200/.528 .703/.743 .395/.410", "clean: no learned stopping"),
    "STSTNet (paper, 2019)": (".735/.761 .680/.701 .838/.869 .659/.681", "clean: last epoch"),
    "STSTNet (authors' released weights)": (".721/.725 .687/.688 .830/.830 .599/.615", "clean: last epoch"),
    "OFF-ApexNet (paper, 2019)": (".720/.710 .682/.670 .876/.868 .541/.539", "unknown: no training code"),
    "Dual-Inception (paper, 2019)": (
        ".732/.728 .665/.673 .862/.856 .587/.566",
        "unknown: other split, one of 100 rounds quoted",
    ),
    "RCN, best of family (paper, 2020)": (
        ".743/.719 .633/.644 .851/.812 .760/.672",
        "clean: last epoch in the released code",
    ),
    "EMR (paper, 2019)": (".789/.782 .746/.753 .829/.821 .775/.715", "leaking: best epoch on the held-out subject"),
    "CapsuleNet (paper, 2019)": (
        ".652/.651 .582/.588 .707/.702 .621/.599",
        "leaking: best epoch on the held-out subject",
    ),
    "HTNet (paper, 2024)": (".860/.848 .805/.791 .953/.952 .813/.812", "leaking: best epoch on the held-out subject"),
    "CausalNet (paper, 2025)": (
        ".898/.902 .839/.845 .981/.986 .878/.858",
        "leaking: best epoch and settings on the held-out subject",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=HERE / "runs")
    parser.add_argument("--only", choices=NETWORKS, action="append")
    parser.add_argument("--tables", action="store_true", help="only write the tables again, from the saved results")
    parser.add_argument(
        "--oracle", type=int, default=0, metavar="SEEDS",
        help="measure instead what choosing the epoch on the held-out subject would gain, over so many seeds",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.tables:
        leaderboard()
        return
    quiet()
    if arguments.oracle:
        for arch in arguments.only or NETWORKS:
            _oracle(arch, arguments)
        leaderboard()
        return
    data = read_megc2019(arguments.root)
    RESULTS.mkdir(parents=True, exist_ok=True)
    baselines = {}
    for name in BASELINES:
        summary = run_baseline(name, data)
        _dump(RESULTS / f"{name}.json", summary)
        baselines[name] = summary["metrics"]
    listed = {}
    for arch in arguments.only or NETWORKS:
        recipe = f"{arch}_megc2019"
        config = plain_config(parse([recipe], ["--data.root", arguments.root]))
        summary = run_loso(
            config,
            out=arguments.runs / recipe,
            seeds=range(SEEDS),
            workers=arguments.workers,
            parallel=not why_not(config),
            on_progress=lambda done, total, recipe=recipe: print(f"\r{recipe}: {done}/{total}", end="", flush=True),
        )
        print()
        print_scores(summary, arch)
        _dump(RESULTS / f"{arch}.json", summary)
        listed[f"{arch}.megc2019"] = publish(arch, recipe, arguments, summary, baselines)
    add_to_index(HERE / "checkpoints", listed)
    leaderboard()


def _oracle(arch: str, arguments: argparse.Namespace) -> None:
    """Run a recipe with the leak, on purpose, and keep its summary apart from the clean ones."""
    recipe = f"{arch}_megc2019"
    summary = run_loso(
        plain_config(parse([recipe], ["--data.root", arguments.root])),
        out=arguments.runs / f"{recipe}-oracle",
        seeds=range(arguments.oracle),
        workers=arguments.workers,
        select="oracle",
        on_progress=lambda done, total: print(f"\r{recipe}, oracle: {done}/{total}", end="", flush=True),
    )
    (RESULTS / "oracle").mkdir(exist_ok=True)
    _dump(RESULTS / "oracle" / f"{arch}.json", summary)


def oracle_table() -> str:
    """What choosing the epoch on the held-out subject "gains", on the same seeds, as Markdown; empty where nobody measured it."""
    rows = []
    for path in sorted((RESULTS / "oracle").glob("*.json")):
        leak, clean = json.loads(path.read_text()), json.loads((RESULTS / path.name).read_text())
        uf1 = {
            word: [
                scores(run["truth"], run["predicted"][str(s)], len(run["classes"]))["full"]["uf1"]
                for s in leak["seeds"]
            ]
            for word, run in (("clean", clean), ("leak", leak))
        }
        means = {word: sum(values) / len(values) for word, values in uf1.items()}
        rows.append(
            f"| `{path.stem}` | {len(leak['seeds'])} | {leak['epochs']} | {means['clean']:.3f} | {means['leak']:.3f} | "
            f"+{means['leak'] - means['clean']:.3f} |"
        )
    if not rows:
        return ""
    head = "| model | seeds | epochs to choose from | UF1, last epoch | UF1, best epoch on the held-out subject | difference |\n|---|---|---|---|---|---|\n"
    return (
        "\n## What choosing the epoch on the held-out subject would have gained\n\nThe same recipes, seeds and fits, scored at the epoch that suits the "
        "tested person best, as much published code does. **This is a leak**, measured on purpose (`zoo loso --select oracle`); nothing else in this "
        "project is chosen so.\n\n" + head + "\n".join(rows) + "\n"
    )


def ablation_table() -> str:
    """What each ingredient of AUFlowGraph gave, as Markdown; empty where nobody measured it."""
    path = HERE / "benchmarks" / "results" / "au_flow_graph.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text())
    table, real = found["ablation"], found["synthetic"]["real_without_a_real_clip"]["full"]
    rows = "\n".join(
        f"| {name} | {change['uf1']:.4f} | {change['difference']:+.4f} ± {change['std']:.4f} |"
        for name, change in sorted(table["changes"].items(), key=lambda item: item[1]["difference"])
    )
    return (
        f"\n## What each ingredient of AUFlowGraph gave\n\n{table['protocol']}, {table['seeds']} seeds; the recipe as it is: {table['recipe']['uf1']:.4f}. "
        f"Differences are paired by seed. Edges between units and pretraining on synthetic maps made no difference that could be seen. Weights that saw "
        f"synthetic maps alone (`au_flow_graph.synthetic`) score UF1 {real['uf1']:.3f}, UAR {real['uar']:.3f} on the 442 real clips.\n\n"
        f"| change | UF1 | difference |\n|---|---|---|\n{rows}\n"
    )


def publish(
    arch: str, recipe: str, arguments: argparse.Namespace, summary: dict[str, Any], baselines: dict[str, Any],
    finish: Callable[[ZooModel], None] = lambda model: None,
) -> dict[str, Any]:  # fmt: skip
    """Train the published weights on all clips and write their folder; returns the entry of the index.

    ``finish`` may add to the trained weights what the classes do not depend on.
    """
    name = f"{arch}.megc2019"
    result = fit(
        [recipe],
        ["--data.root", arguments.root],
        seed=FINAL_SEED,
        folder=arguments.runs / f"{recipe}-final",
        progress=False,
    )
    model = result["model"]
    finish(model)
    parameters = sum(p.numel() for p in model.parameters())
    half = parameters > 1_000_000  # 25 MB is the limit of one checkpoint
    record = {
        **result["record"],
        "metrics": summary["metrics"],
        "confusion": summary["confusion"],
        "epochs": summary["epochs"],
        "digests": summary["digests"],
        "parameters": parameters,
        "classes": summary["classes"],
        "input_spec": model.input_spec.to_dict(),
        "protocol": summary["protocol"],
        "licence": "research-only",
        "trained_on": ["SMIC-HS", "CASME II", "SAMM"],
        "half": half,
    }
    paper, reading = PAPERS[arch]
    if half:
        reading += " Weights of matrices and convolutions are stored in half precision and widened when loaded; none of the 442 clips changes its class by it."
    card = megc2019_card(
        name,
        title=entries()[arch].summary.rstrip("."),
        paper=paper,
        reading=reading,
        record=record,
        baselines={title: baselines[name] for name, title in BASELINES.items() if name in baselines},
    )
    before = [p.label for p in evaluate(model, arguments.root)["predictions"]]
    save(model, HERE / "checkpoints" / name, classes=record["classes"], card=card, half=half, record=record)
    after = [p.label for p in evaluate(f"local-dir:{HERE / 'checkpoints' / name}", arguments.root)["predictions"]]
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    if changed:
        raise SystemExit(f"{name}: storing the weights changed the class of {changed} of {len(before)} clips")
    return {
        "arch": arch,
        "recipe": recipe,
        "licence": "research-only",
        "trained_on": record["trained_on"],
        "protocol": record["protocol"],
        "metrics": record["metrics"],
        "digests": record["digests"],
        "parameters": parameters,
        "classes": record["classes"],
        "repo": None,
        "revision": None,
    }


def leaderboard() -> None:
    """Write benchmarks/leaderboard.md and the README's table from the saved results."""
    found = {p.stem: json.loads(p.read_text())["metrics"] for p in sorted(RESULTS.glob("*.json"))}
    weights = {f"`{arch}.megc2019`": m for arch, m in found.items() if arch not in BASELINES}
    ours = weights | {title: found[name] for name, title in BASELINES.items() if name in found}
    ranked = sorted(ours.items(), key=lambda item: -item[1]["full"]["uf1"]["mean"])
    head = "| model | seeds | " + " | ".join(PARTS.values()) + " |\n|---|---|" + "---|" * len(PARTS) + "\n"
    body = "\n".join(
        f"| {name} | {m['full']['uf1']['seeds'] if m['full']['uf1']['std'] is not None else 'deterministic'} | "
        + " | ".join(f"{spread(m[p]['uf1'])} / {spread(m[p]['uar'])}" for p in PARTS)
        + " |"
        for name, m in ranked
    )
    table = head + body + "\n"
    quoted = (
        "| model | "
        + " | ".join(PARTS.values())
        + " | evaluation |\n|---|"
        + "---|" * (len(PARTS) + 1)
        + "\n"
        + "\n".join(
            f"| {name} | " + " | ".join(v.replace("/", " / ") for v in values.split()) + f" | {reason} |"
            for name, (values, reason) in PUBLISHED.items()
        )
    )
    (HERE / "benchmarks" / "leaderboard.md").write_text(
        "# MEGC2019 composite, leave one subject out\n\nUF1 / UAR over 442 clips of 68 people, predictions pooled over all folds; mean ± standard deviation over "
        "seeds. The held-out subject chooses nothing. Written by `benchmarks/release_megc2019.py` from `benchmarks/results/megc2019/`.\n\n"
        f"## Measured here\n\n{table}\n## Published elsewhere\n\nQuoted, not re-measured. *Leaking* means that the code which was released chooses the epoch on "
        f"the very subject it tests.\n\n{quoted}\n",
        encoding="utf-8",
    )
    with (HERE / "benchmarks" / "leaderboard.md").open("a", encoding="utf-8") as file:
        file.write(ablation_table() + oracle_table())
    if (transfer := HERE / "benchmarks" / "results" / "transfer.json").is_file():
        with (HERE / "benchmarks" / "leaderboard.md").open("a", encoding="utf-8") as file:
            file.write(transfer_table(json.loads(transfer.read_text())))
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    marked = re.sub(
        r"(<!-- leaderboard -->\n).*?(<!-- /leaderboard -->)", lambda m: f"{m[1]}{table}{m[2]}", text, flags=re.S
    )
    readme.write_text(marked, encoding="utf-8")


def transfer_table(found: dict[str, Any]) -> str:
    """The check of `benchmarks/transfer.py` as Markdown."""
    rows = found["share_as_intended"]
    kinds = [k for k in next(iter(rows.values()))["megc2019"] if k != "synthetic"]
    lines = [
        "", "## Does it carry over to flow computed here? (synthetic, and not a score)", "",
        f"Faint expressions played by action units on neutral portraits of {found['people']} people (**synthetic**), and the real, full smile of the",
        "same people in a second photograph: share of pairs that get the class intended. No labelled micro-expressions are involved. The",
        "second line of each network shows what happens when the picture is cut out otherwise than the published ones were. Written by",
        "`benchmarks/transfer.py`; portraits: Face Research Lab London Set (DeBruine & Jones 2017, CC BY 4.0).", "",
        "| weights | cut | all synthetic | " + " | ".join(kinds) + " |", "|---|---|---|" + "---|" * len(kinds),
    ]  # fmt: skip
    for name, crops in rows.items():
        for crop, label in (("megc2019", "as published"), ("face", "whole aligned face")):
            cells = " | ".join(f"{crops[crop][k]:.2f}" for k in ("synthetic", *kinds))
            lines.append(f"| `{name}` | {label} | {cells} |")
    return "\n".join(lines) + "\n"


def _dump(path: Path, summary: dict[str, Any]) -> None:
    path.write_text(json.dumps(summary, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
