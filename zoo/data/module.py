"""The LightningDataModule over flow maps: data × protocol × InputSpec × fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.apex_set import ApexSet
from zoo.data.augment import mirror_inputs, mirror_maps, shift, vary
from zoo.data.clip_set import ClipSet, InputSet
from zoo.data.flow_maps import FlowMaps
from zoo.data.protocols import ApexPolicy
from zoo.data.selection import Faces
from zoo.data.source import Source
from zoo.data.splits import Fold, check_folds, grouped_kfold
from zoo.data.transforms import Augmentation, Augmenter
from zoo.errors import ProtocolError, ZooError
from zoo.inputs import normalise, prepare_maps, prepare_pictures, prepare_planes
from zoo.registry import unknown
from zoo.types import InputSpec

Order = Literal["shuffled", "by_class"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Inputs as the model eats them, shared by all folds: resident in memory, or apexes mapped from disk."""

    data: FlowMaps | InputSet | ApexSet
    spec: InputSpec
    # [V, N, *spec.shape]: as they are, one view per magnification; then the same mirrored, unless `flips`. None for apexes
    inputs: Tensor | None
    labels: Tensor  # [N]
    flips: bool = False  # the mirrored view is made when it is asked for

    @classmethod
    def of(cls, data: FlowMaps | InputSet | ApexSet, spec: InputSpec) -> Prepared:
        """Prepare every clip once, through :mod:`zoo.inputs`."""
        labels = torch.from_numpy(data.labels)
        if isinstance(data, ApexSet):
            return cls(data, spec, None, labels, flips=True)
        if isinstance(data, InputSet):
            return cls(data, spec, torch.from_numpy(data.inputs), labels, data.flips)
        both = np.stack([prepare_maps(data.maps, spec), prepare_maps(mirror_maps(data.maps), spec)])
        return cls(data, spec, torch.from_numpy(both), labels)

    @property
    def variants(self) -> int:
        """Views of each clip that are not mirrored."""
        if self.inputs is None:
            return 1
        return len(self.inputs) if self.flips else len(self.inputs) // 2

    def take(self, rows: Tensor, mirrored: Tensor | None = None, variant: Tensor | int = 0) -> Tensor:
        """Inputs of some clips in float32.

        Args:
            rows: positions.
            mirrored: which of them to mirror; none if not given.
            variant: which magnification.

        Shapes: rows ``[B]``, mirrored bool ``[B]`` -> ``[B, *spec.shape]``.
        """
        if self.inputs is not None and not self.flips and mirrored is not None:
            return self.inputs[mirrored.long() * self.variants + variant, rows].float()
        if isinstance(self.data, ApexSet):
            x = torch.from_numpy(prepare_planes(self.data.planes(rows.numpy()), self.spec))
        else:
            assert self.inputs is not None
            x = self.inputs[variant, rows].float()
        if mirrored is None:
            return x
        return torch.where(mirrored.view(-1, *[1] * (x.ndim - 1)), mirror_inputs(x, self.spec), x)


class ResidentLoader:
    """Batches ``(inputs, labels, positions)`` cut from tensors in memory: no workers, no copies, no surprises.

    Each epoch draws from a generator of its own, seeded by (seed, epoch), so that an epoch's batches depend on nothing else.
    """

    def __init__(
        self,
        prepared: Prepared,
        rows: Sequence[int],
        *,
        batch_size: int,
        seed: int | None = None,
        mirror: float = 0.0,
        shift_pixels: int = 0,
        balanced: bool = False,
        augmenter: Augmenter | None = None,
        order: Order = "shuffled",
        drop_last: bool = True,
    ) -> None:
        self.order, self.drop_last = order, drop_last
        self.augmenter = augmenter
        self.prepared, self.rows = prepared, torch.tensor(rows, dtype=torch.long)
        self.batch_size, self.seed = min(batch_size, len(rows)), seed
        self.mirror, self.shift_pixels, self.balanced = mirror, shift_pixels, balanced
        self.epoch = 0

    def __len__(self) -> int:
        count = len(self.rows) / self.batch_size if self.rows.numel() else 0
        return int(count) if self.seed is not None and self.drop_last else -int(-count // 1)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        if self.seed is None:
            for rows in self.rows.split(self.batch_size):
                yield self.prepared.take(rows), self.prepared.labels[rows], rows
            return
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        self.epoch += 1
        order = self.rows[self._order(generator)]
        for rows in order.split(self.batch_size)[: len(self)]:
            if self.augmenter is not None:
                yield self._augmented(rows, self.augmenter), self.prepared.labels[rows], rows
                continue
            mirrored = torch.rand(len(rows), generator=generator) < self.mirror
            variant: Tensor | int = 0
            if self.prepared.variants > 1:
                variant = torch.randint(self.prepared.variants, (len(rows),), generator=generator)
            x = self.prepared.take(rows, mirrored, variant)
            yield shift(x, self.shift_pixels, generator), self.prepared.labels[rows], rows

    def _augmented(self, rows: Tensor, augmenter: Augmenter) -> Tensor:
        """Clips moved as fields of vectors or as pictures, each by its own draw, and then prepared as ever."""
        data, spec, out = self.prepared.data, self.prepared.spec, []
        if isinstance(data, ApexSet):
            draws = [augmenter.draw(data.keys[i], self.epoch) for i in rows.tolist()]
            return torch.from_numpy(prepare_planes(vary(data.planes(rows.numpy()), draws), spec))
        for i in rows.tolist():
            if isinstance(data, InputSet):
                moved = augmenter({"frames": data.pictures[i]}, key=data.keys[i], epoch=self.epoch)
                out.append(prepare_pictures(moved["frames"], spec))
                continue
            field = np.asarray(data.fields[i], np.float32)
            moved = augmenter({"flow": field[:2], "strain": field[2]}, key=data.keys[i], epoch=self.epoch)
            motion = np.concatenate([moved["flow"], moved["strain"][None]])
            out.append(normalise(motion, spec.map_size, data.crop, spec.normalisation))
        return torch.from_numpy(np.stack(out) if isinstance(data, InputSet) else prepare_maps(np.stack(out), spec))

    def _order(self, generator: torch.Generator) -> Tensor:
        if self.order == "by_class":
            return torch.argsort(self.prepared.labels[self.rows], stable=True)
        if not self.balanced:
            return torch.randperm(len(self.rows), generator=generator)
        labels = self.prepared.labels[self.rows]
        chance = 1.0 / torch.bincount(labels)[labels].double()
        return torch.multinomial(chance, len(self.rows), replacement=True, generator=generator)


class FlowMapsDataModule(pl.LightningDataModule):
    """Clips of a data set under a protocol, one fold at a time: the MEGC2019 pictures, or a manifest of clips on disk.

    What is prepared of them (flow maps, frames, apexes, patches) is what the task's model eats.

    Args:
        root: published MEGC2019 folder or .npz, see :func:`zoo.data.megc2019.read_megc2019`.
        fold: name of the fold (under leave-one-subject-out the test person, ``casme2/sub01``), ``all`` to train on every clip
            and test on none, or ``K/N`` for part K of an N-fold split by person (for trying recipes); under scheme ``official``
            the part of the release that is held out: ``test``, ``val``, or as the release calls it.
        batch_size: clips per step.
        mirror: probability of the mirrored clip.
        shift: largest displacement in pixels of the map; scaled with the input's size.
        balanced: draw each class equally often in training, with repetition.
        order: of the training clips, ``shuffled`` anew in each epoch, or ``by_class`` as STSTNet's authors list them.
        drop_last: leave the last, smaller batch of an epoch out: batch normalisation over a few clips is noise.
        augment: fields of :class:`zoo.data.transforms.Augmentation` (flip, rotate, scale, shift), applied to the motion before it
            is normalised, in place of ``mirror`` and ``shift``; needs a manifest, since published maps hold no vectors any more.
        seed: of order and augmentation.
        prepared: inputs prepared earlier, shared between folds; else they are read at set-up.
        input_spec: what the model eats; if not given, asked of the task that the trainer fits.
        complete, manifest, frames, protocol, scheme, faces, apex, max_gap, cache, alphas: see :class:`zoo.data.source.Source`.
    """

    def __init__(
        self,
        root: str = "",
        *,
        fold: str = "all",
        batch_size: int = 64,
        mirror: float = 0.5,
        shift: int = 1,
        balanced: bool = False,
        order: Order = "shuffled",
        drop_last: bool = True,
        augment: dict[str, float] | None = None,
        seed: int = 0,
        prepared: Prepared | None = None,
        input_spec: InputSpec | None = None,
        complete: bool = True,
        manifest: str = "",
        frames: str = "",
        protocol: str = "",
        scheme: str = "",
        faces: Faces = "detect",
        apex: ApexPolicy = "error",
        max_gap: int = 0,
        cache: str = "",
        alphas: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.source = Source(
            root=root, complete=complete, manifest=manifest, frames=frames, protocol=protocol, scheme=scheme, faces=faces,
            apex=apex, max_gap=max_gap, cache=cache, alphas=tuple(alphas or ()),
        )  # fmt: skip
        self.fold_name, self.batch_size, self.mirror, self.shift = fold, batch_size, mirror, shift
        self.balanced, self.seed = balanced, seed
        if order not in get_args(Order):
            raise ZooError(f"data.order is {order!r}; known: {', '.join(get_args(Order))}")
        self.order, self.drop_last = order, drop_last
        self.augmentation = Augmentation.of(augment) if augment else None
        self.prepared, self.input_spec = prepared, input_spec
        self.fold: Fold | None = None
        self.on_progress: Callable[[int, int], None] = lambda done, total: None  # clips read, clips in all

    def setup(self, stage: str | None = None) -> None:
        """Read, prepare and split, once."""
        if self.fold is not None:
            return
        if self.prepared is None:
            model = self.trainer.lightning_module if self.trainer is not None else None
            spec = self.input_spec or getattr(model, "input_spec", None) or InputSpec()
            self.prepared = Prepared.of(
                self.source.load(spec, self.on_progress, keep_fields=self.augmentation is not None), spec
            )
        self.fold = pick_fold(self.prepared.data, self.fold_name)

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Training clips per class."""
        assert self.prepared is not None and self.fold is not None
        return np.bincount(self.prepared.data.labels[list(self.fold.train)], minlength=len(self.prepared.data.classes))

    def train_dataloader(self) -> ResidentLoader:
        """Shuffled, augmented training clips of the fold."""
        assert self.prepared is not None and self.fold is not None
        spec = self.prepared.spec
        return ResidentLoader(
            self.prepared,
            self.fold.train,
            batch_size=self.batch_size,
            seed=self.seed,
            mirror=self.mirror,
            shift_pixels=_shift_pixels(self.shift, spec),
            balanced=self.balanced,
            order=self.order,
            drop_last=self.drop_last,
            augmenter=Augmenter(self.augmentation, seed=self.seed) if self.augmentation else None,
        )

    @property
    def train_rows(self) -> Tensor:
        """Positions of the training clips. Shapes: int ``[M]``."""
        assert self.fold is not None
        return torch.tensor(self.fold.train, dtype=torch.long)

    def au_targets(self, units: Sequence[int]) -> Tensor:
        """Action units of all clips, NaN where nobody coded them. Shapes: -> float ``[N, len(units)]``."""
        assert self.prepared is not None
        return torch.from_numpy(self.prepared.data.au_targets(units))

    def test_dataloader(self) -> ResidentLoader:
        """Test clips of the fold, as they are."""
        assert self.prepared is not None and self.fold is not None
        return ResidentLoader(self.prepared, self.fold.test, batch_size=256)

    predict_dataloader = test_dataloader


def _shift_pixels(shift: int, spec: InputSpec) -> int:
    """``shift`` counts pixels of the map; patches lie where their landmarks are and are not moved."""
    match spec.modality:
        case "flow":
            return shift * spec.size // spec.map_size
        case "frames" | "apex":
            return shift
        case "patches":
            return 0
        case _:
            assert_never(spec.modality)


def pick_fold(data: ClipSet, name: str) -> Fold:
    """The fold of that name: one of the data's own, ``all``, or ``K/N``."""
    if name == "all":
        return Fold(name="all", train=tuple(range(len(data))), test=())
    part, slash, parts = name.partition("/")
    if slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts) >= 2:
        folds = grouped_kfold(data.people, data.labels.tolist(), folds=int(parts), seed=0)
        check_folds(folds, data.people)
        return folds[int(part) - 1]
    by_name = {fold.name: fold for fold in data.split()}
    if name in by_name:
        return by_name[name]
    raise ProtocolError(str(unknown("fold", name, by_name)))
