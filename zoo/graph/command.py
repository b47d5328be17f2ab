"""``zoo graph``: draw a graph of action units over a face, as a picture, as a page, and as a table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import MediaError, ZooError
from zoo.facs.action_units import au_set

if TYPE_CHECKING:
    from zoo.models._base import AUModel

HEAVIEST = 8  # edges told on the terminal


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """What is to be drawn."""

    adjacency: np.ndarray  # [N, N]
    names: tuple[str, ...]
    title: str
    file: str  # name of the files, without ending
    values: tuple[float, ...] | None = None
    face: np.ndarray | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code."""
    arguments = _parser().parse_args(argv)
    drawn: Drawn = arguments.make(arguments)
    face = _picture(arguments.face) if arguments.face else drawn.face
    _write(drawn, face, arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoo graph",
        description="Draw a graph of action units over a face: PNG, interactive HTML and CSV.",
        epilog="An arrow runs from the unit that gives to the unit that takes; the table's row takes from its columns.",
    )
    kinds = parser.add_subparsers(title="graphs", metavar="GRAPH", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--out", type=Path, default=Path("out/graph"), metavar="DIR", help="where the files go (default out/graph)"
    )
    common.add_argument("--face", type=Path, metavar="PICTURE", help="aligned face to draw over, in place of a drawing")
    common.add_argument("--most", type=int, default=40, metavar="N", help="edges drawn, the heaviest (default 40)")
    common.add_argument("--least", type=float, default=0.0, metavar="W", help="lightest edge drawn")
    common.add_argument("--title", help="above the picture")

    units = argparse.ArgumentParser(add_help=False)
    units.add_argument(
        "--aus", default="cross12", metavar="SET", help="name of a set, or numbers: 1,2,4 (default cross12)"
    )

    recipe = argparse.ArgumentParser(add_help=False)
    recipe.add_argument(
        "--probabilities", action="store_true",
        help="draw P(taker | giver) as counted, in place of the adjacency that a network gets",
    )  # fmt: skip
    recipe.add_argument(
        "--tau", type=float, default=0.1, help="threshold of the conditional probability (default 0.1); 0 keeps all"
    )
    recipe.add_argument("--p", type=float, default=0.2, help="weight of the neighbours together (default 0.2)")
    recipe.add_argument("--smoothing", type=float, default=0.5, help="clips added to each count (default 0.5)")
    recipe.add_argument(
        "--direction", choices=("given_row", "given_column"), default="given_row", help="of the probabilities"
    )
    recipe.add_argument(
        "--min-joint", type=int, default=0, metavar="N", help="clips that must show both units (default 0)"
    )
    recipe.add_argument("--form", choices=("paper", "ml_gcn", "none"), default="paper", help="of the re-weighting")
    recipe.add_argument(
        "--scale", choices=("ml_gcn", "symmetric", "row", "none"), default="ml_gcn", help="normalisation"
    )

    counted = kinds.add_parser("cooccurrence", parents=[common, units, recipe], help="counted in a manifest")
    counted.add_argument("manifest", type=Path, help="table of clips, as written by `zoo data build`")
    counted.add_argument("--protocol", metavar="NAME", help="count only its clips")
    counted.add_argument("--fold", metavar="NAME", help="count only the training clips of this fold of the protocol")
    counted.add_argument(
        "--signed", action="store_true", help="SRERL's graph in its place: +1 together, -1 apart, 0 neither"
    )
    counted.set_defaults(make=_counted)

    prior = kinds.add_parser("prior", parents=[common, units, recipe], help="from published annotations")
    prior.add_argument(
        "--source", default="pooled", metavar="NAME", help="data set (default pooled: CASME II, SAMM, CAS(ME)³)"
    )
    prior.set_defaults(make=_prior)

    near = kinds.add_parser("knn", parents=[common, units], help="each unit from its nearest on the face")
    near.add_argument("--k", type=int, default=3, help="neighbours (default 3)")
    near.set_defaults(make=_near)

    full = kinds.add_parser("full", parents=[common, units], help="everyone from everyone")
    full.set_defaults(make=_full)

    model = kinds.add_parser("model", parents=[common], help="the graph that a network has learned")
    model.add_argument("name", help="weights: a name of `zoo models --pretrained`, or local-dir:PATH")
    model.set_defaults(make=_learned)

    sample = kinds.add_parser("sample", parents=[common], help="the graph that a network sees in a video")
    sample.add_argument("name", help="weights, as above")
    sample.add_argument(
        "video", nargs="?", type=Path, help="video or folder of frames; without it, a synthetic sample clip"
    )
    sample.add_argument("--onset", type=int, metavar="N", help="frame number (from 0), found if not given")
    sample.add_argument("--apex", type=int, metavar="N", help="frame number, found if not given")
    sample.add_argument("--fps", type=float, help="frames per second, where the input does not say")
    sample.set_defaults(make=_seen)
    return parser


def _names(aus: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"AU{au}" for au in aus)


def _from_counts(joint: Any, shown: Any, arguments: argparse.Namespace) -> np.ndarray:
    from zoo.graph import adjacency

    if arguments.probabilities:
        return adjacency.conditional(joint, shown, smoothing=0, direction="given_column").numpy()
    made = adjacency.from_counts(
        joint, shown, smoothing=arguments.smoothing, tau=arguments.tau, p=arguments.p, direction=arguments.direction,
        form=arguments.form, scale=arguments.scale, min_joint=arguments.min_joint,
    )  # fmt: skip
    return made.numpy()


def _counted(arguments: argparse.Namespace) -> Drawn:
    from zoo.data.manifest import Manifest
    from zoo.facs.coding import multi_hot, parse
    from zoo.graph.adjacency import joint_counts, signed

    aus = au_set(arguments.aus)
    table = Manifest.load(arguments.manifest).table
    where = arguments.manifest.stem
    if arguments.fold and not arguments.protocol:
        raise ZooError("a fold is one of a protocol: name it with --protocol")
    if arguments.protocol:
        from zoo.data.protocols import split

        made = split(Manifest.load(arguments.manifest), arguments.protocol, strict=False)
        keys = list(made.keys)
        where += f", {arguments.protocol}"
        if arguments.fold:
            folds = {fold.name: fold for fold in made.folds}
            if arguments.fold not in folds:
                raise ZooError(f"{arguments.protocol} has no fold {arguments.fold!r}; it has {', '.join(folds)}")
            keys = made.keys_of(made.train(folds[arguments.fold]))
            where += f", without {arguments.fold}"
        table = table.loc[keys]
    rows = [multi_hot(parse(None if cell is None or cell != cell else str(cell)), aus) for cell in
            table["aus"].astype(object).where(table["aus"].notna(), None)]  # fmt: skip
    coded = [row for row in rows if row is not None]
    if not coded:
        raise ZooError(
            f"none of the {len(rows)} clips of {where} has its action units coded: there is nothing to count"
        )
    print(f"{len(coded)} clips of {where}; {len(rows) - len(coded)} left out, whose units are not coded")
    labels = np.asarray(coded, np.float64)
    if arguments.signed:
        title = f"Action units together (+) and apart (-): {where} ({len(coded)} clips)"
        return Drawn(adjacency=signed(labels).numpy(), names=_names(aus), title=title, file="signed")
    title = f"Action units together: {where} ({len(coded)} clips)"
    counted = _from_counts(*joint_counts(labels), arguments)
    return Drawn(adjacency=counted, names=_names(aus), title=title, file="cooccurrence")


def _prior(arguments: argparse.Namespace) -> Drawn:
    import torch

    from zoo.facs import statistics

    aus = au_set(arguments.aus)
    joint = torch.tensor(statistics.joint_counts(aus, arguments.source))
    title = f"Action units together: {arguments.source} ({statistics.clip_count(arguments.source)} clips)"
    return Drawn(adjacency=_from_counts(joint, None, arguments), names=_names(aus), title=title,
                 file=f"prior_{arguments.source}")  # fmt: skip


def _near(arguments: argparse.Namespace) -> Drawn:
    from zoo.graph.adjacency import knn
    from zoo.graph.layout import place_nodes

    names = _names(au_set(arguments.aus))
    return Drawn(adjacency=knn(place_nodes(names), arguments.k).numpy(), names=names,
                 title=f"Each unit takes from its {arguments.k} nearest", file=f"knn{arguments.k}")  # fmt: skip


def _full(arguments: argparse.Namespace) -> Drawn:
    from zoo.graph.adjacency import fully_connected

    names = _names(au_set(arguments.aus))
    return Drawn(
        adjacency=fully_connected(len(names)).numpy(), names=names, title="Everyone takes from everyone", file="full"
    )


def _graph_model(name: str) -> AUModel:
    from zoo.models._base import AUModel
    from zoo.weights import load

    model = load(name)
    if not isinstance(model, AUModel):
        raise ZooError(f"{name} has no graph of action units to draw; `zoo models` names those that have")
    return model


def _learned(arguments: argparse.Namespace) -> Drawn:
    import torch

    model = _graph_model(arguments.name)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand((2, *model.input_spec.shape), generator=generator)
    with torch.inference_mode():
        made = model.forward_graph(inputs).adjacency
    if made.ndim == 3 and not torch.allclose(made[0], made[1], atol=1e-6):
        raise ZooError(
            f"the graph of {arguments.name} is made anew for each sample: `zoo graph sample {arguments.name} VIDEO`"
        )
    return Drawn(adjacency=(made[0] if made.ndim == 3 else made).numpy(), names=tuple(model.node_names),
                 title=f"Graph of {arguments.name}", file=_safe(arguments.name))  # fmt: skip


def _seen(arguments: argparse.Namespace) -> Drawn:
    import torch

    from zoo.predictor import predict, predict_sample

    model = _graph_model(arguments.name)
    inputs: list[torch.Tensor] = []
    # what the predictor feeds is what is drawn: the input is taken where it enters
    handle = model.register_forward_pre_hook(lambda _, given: inputs.append(given[0].detach()))
    try:
        if arguments.video is None:
            result = predict_sample(model=model)
        else:
            result = predict(
                arguments.video, model=model, onset=arguments.onset, apex=arguments.apex, fps=arguments.fps
            )
    finally:
        handle.remove()
    with torch.inference_mode():
        outputs = model.forward_graph(inputs[-1][:1])
    told = dict(zip(model.aus, torch.sigmoid(outputs.au_logits[0]).tolist(), strict=True))
    units = [int("".join(c for c in name.removeprefix("AU") if c.isdigit()) or -1) for name in model.node_names]
    values = tuple(told[u] for u in units) if all(u in told for u in units) else None
    made = outputs.adjacency
    best = result.prediction
    return Drawn(
        adjacency=(made[0] if made.ndim == 3 else made).numpy(), names=tuple(model.node_names), values=values,
        face=np.asarray(result.apex_face), file=f"{_safe(arguments.name)}_{_safe(Path(result.source).stem)}",
        title=f"{arguments.name} on {result.source}: {best.label} {max(best.probabilities):.2f}"
              + (" (synthetic clip)" if result.synthetic else ""),
    )  # fmt: skip


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name) or "graph"


def _picture(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise MediaError(
            f"{path} cannot be read as a picture ({error}); give a PNG or JPEG of an aligned face"
        ) from None


def _write(drawn: Drawn, face: np.ndarray | None, arguments: argparse.Namespace) -> None:
    from zoo.graph.draw import edges_of, graph_figure
    from zoo.graph.interactive import graph_page

    title = arguments.title if arguments.title is not None else drawn.title
    shared: dict[str, Any] = {"face": face, "values": drawn.values, "title": title, "least": arguments.least}
    figure = graph_figure(drawn.adjacency, drawn.names, most=arguments.most, **shared)
    page = graph_page(drawn.adjacency, drawn.names, most=max(arguments.most, 200), **shared)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        base = arguments.out / drawn.file
        half = base.with_name(f".{base.name}.png")
        figure.savefig(half, dpi=150)
        half.replace(base.with_name(f"{base.name}.png"))
        _replace(base.with_name(f"{base.name}.html"), page)
        _replace(base.with_name(f"{base.name}.csv"), _csv(drawn))
    except OSError as error:
        raise ZooError(f"cannot write to {arguments.out}: {error}; name another folder with --out") from None
    edges, total = edges_of(drawn.adjacency, most=HEAVIEST)
    print(f"{title}\n{len(drawn.names)} nodes, {total} edges (equal pairs as one, loops not counted); the heaviest:")
    for edge in edges:
        print(
            f"  {drawn.names[edge.target]:>6} {'<->' if edge.mutual else '<- '} {drawn.names[edge.source]:<6} {edge.weight:.3f}"
        )
    print(f"written: {base}.png, .html, .csv")


def _replace(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}")
    half.write_text(text, encoding="utf-8")
    half.replace(path)


def _csv(drawn: Drawn) -> str:
    rows = [",".join(["takes\\gives", *drawn.names])]
    rows += [
        ",".join([name, *(f"{w:.6g}" for w in row)]) for name, row in zip(drawn.names, drawn.adjacency, strict=True)
    ]
    return "\n".join(rows) + "\n"
