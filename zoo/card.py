"""Model cards, written from the record of the runs and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTS = {"full": "Full", "smic": "SMIC", "casme2": "CASME II", "samm": "SAMM"}

MISUSE = """\
## What it must not be used for

A micro-expression is no lie detector, and no reading of a mind. Do not use this model to judge a person's honesty, mood,
health, fitness for a job, or intent; not in policing, border control, hiring, schools, courts or insurance; not on people
who have not agreed. Where the law forbids inferring emotions (in the European Union, at work and in education), that
includes this model. It was trained and tested on laboratory recordings of 68 people."""


def spread(metric: Mapping[str, Any], digits: int = 3) -> str:
    """``0.712 ± 0.008``, or the mean alone where there is one run."""
    text = f"{metric['mean']:.{digits}f}"
    return text if metric["std"] is None else f"{text} ± {metric['std']:.{digits}f}"


def scores_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table: one row per name, UF1 / UAR full and per data set."""
    head = (
        "| | "
        + " | ".join(f"{PARTS[p]} UF1 | {PARTS[p]} UAR" for p in PARTS)
        + " |\n|---"
        + "|---" * (2 * len(PARTS))
        + "|\n"
    )
    return head + "\n".join(
        f"| {name} | " + " | ".join(f"{spread(metrics[p]['uf1'])} | {spread(metrics[p]['uar'])}" for p in PARTS) + " |"
        for name, metrics in rows.items()
    )


def megc2019_card(
    name: str,
    *,
    title: str,
    paper: str,
    reading: str,
    record: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
) -> str:
    """The card of a network trained on the MEGC2019 composite.

    Args:
        name: ``arch.tag``.
        title: the architecture's one-line summary.
        paper: citation.
        reading: which reading of the paper was taken, and what the input is.
        record: of the published weights, with ``metrics`` of the leave-one-subject-out runs.
        baselines: metrics by name, under the same folds.
    """
    full, seeds, config = record["metrics"]["full"], record["metrics"]["full"]["uf1"]["seeds"], record["config"]
    names = record["classes"]
    matrix = "\n".join(
        f"| **{t}** | " + " | ".join(str(v) for v in row) + " |"
        for t, row in zip(names, record["confusion"], strict=True)
    )
    front = "\n".join(
        [
            "---",
            "library_name: au-graph-zoo",
            "license: other",
            "license_name: research-only",
            "pipeline_tag: image-classification",
            "tags: [micro-expression, optical-flow, facial-expression]",
            "datasets: [MEGC2019]",
            "model-index:",
            f"- name: {name}",
            "  results:",
            "  - task: {type: image-classification, name: micro-expression recognition}",
            "    dataset: {type: megc2019, name: MEGC2019 composite (leave one subject out)}",
            "    metrics:",
            f"    - {{type: uf1, value: {full['uf1']['mean']:.4f}, name: 'UF1, mean of {seeds} seeds'}}",
            f"    - {{type: uar, value: {full['uar']['mean']:.4f}, name: 'UAR, mean of {seeds} seeds'}}",
            "---",
        ]
    )
    spec = record["input_spec"]
    return f"""{front}

# {name}

{title}. {record["parameters"]:,} parameters, three classes: {", ".join(names)}.

```python
import zoo
model = zoo.load("{name}")                      # eval mode; model.input_spec, model.classes, model.card
result = zoo.predict("clip.mp4", model=model)   # or: zoo predict clip.mp4 --model {name}
```

{paper}

{reading}

## Input

One picture of onset→apex TV-L1 flow of an aligned face: channels {", ".join(spec["channels"])}, stretched per picture and channel
to 0..255 at {spec["map_size"]} px (`{spec["normalisation"]}`){f", enlarged to {spec['size']} px" if spec["size"] != spec["map_size"] else ""}, then `{spec["scaling"]}` scaling. The stretch removes the
strength of a movement: a strong and a weak one look alike, and a face that does not move at all still yields a picture.

## Data and licence

All 442 clips (68 people) of the MEGC2019 composite, as the flow maps published by the authors of STSTNet; these derive from
SMIC (Li et al. 2013), CASME II (Yan et al. 2014) and SAMM (Davison et al. 2018), whose licences allow research only.
**These weights are for research only.** No picture of these data sets is contained in them or in this project.

## How good it is

Leave one subject out over 68 people, predictions of all folds pooled, the epoch fixed beforehand ({record["epochs"]}), {seeds} seeds, mean ± standard
deviation. The published weights are one more run (seed {record["seed"]}) of the same recipe on all clips; they have no unseen clip left to be
scored on.

{scores_table({f"**{name}**": record["metrics"], **baselines})}

Confusion over {seeds} seeds (rows: truth):

| | {" | ".join(names)} |
|---|{"---|" * len(names)}
{matrix}

Recipe `{record["recipe"]}` (learning rate {config["model"]["lr"]}, {config["model"]["optimiser"]}, {config["model"]["schedule"]} schedule,
class balance {config["model"]["class_balance"]}, batch {config["data"]["batch_size"]}, mirrored copies {config["data"]["mirror"]}, shift {config["data"]["shift"]} px). It was chosen among a few settings by grouped
5-fold cross-validation on the same 442 clips before the runs above, so the numbers carry a little of that choice.
`zoo loso --config {record["recipe"]} --data.root PATH --seeds {seeds}` makes the table again. Digests: split `{record["digests"]["split"][:16]}`,
inputs `{record["digests"]["inputs"][:16]}`, config `{record["digests"]["config"][:16]}`.

## Limits and bias

Few people (16 in SMIC, 24 in CASME II, 28 in SAMM), three laboratories, studio light, frontal faces, 100–200 frames per second, one
labelled expression per clip. How the scores differ by age, sex or skin has not been measured: the published maps do not say. In SMIC the apex was spotted, not annotated. The
classes merge anger, contempt, disgust, fear, sadness and repression into "negative". Flow from another camera, crop or
algorithm than the training maps' is a shift of domain whose cost has not been measured on labelled clips. It always names a class: it cannot
say that nothing happened.

{MISUSE}
"""
