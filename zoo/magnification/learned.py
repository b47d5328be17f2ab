"""The learned magnifier over a clip: static (against the first frame), dynamic (against the one before), or band-passed.

Oh et al., ECCV 2018, see :mod:`zoo.models.magnet`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from zoo.errors import ZooError
from zoo.magnification.temporal import BAND, Filter, blocks, sections, warmed_up

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.models.magnet import MagNet

Mode = Literal["static", "dynamic", "temporal"]
MODEL = "magnet.synthetic"
BLOCK = 4  # frames that go through the network at once


def learned(
    frames: Iterable[np.ndarray],
    fps: float | None,
    *,
    gain: float,
    model: str | MagNet = MODEL,
    mode: Mode = "static",
    band: tuple[float, float] = BAND,
    device: str = "cpu",
) -> Iterator[np.ndarray]:
    """Magnify frame by frame; memory does not grow with the clip.

    ``static`` multiplies the motion since the first frame, ``dynamic`` the motion since the frame before, ``temporal`` what a
    first-order Butterworth filter passes of the shape code.

    Args:
        frames: the clip.
        fps: frames per second; only ``temporal`` asks for it.
        gain: the motion comes out 1 + gain times as large, whatever the model's convention.
        model: weights by name, or a network.
        mode: against what.
        band: in Hz, of ``temporal``.
        device: where torch computes.

    Shapes: each uint8 ``[H, W, 3]`` -> each uint8 ``[H, W, 3]``.

    Raises:
        UnknownName: no such weights. ZooError: an unknown mode, the weights are no magnifier, no frame rate.
    """
    import torch

    if mode not in get_args(Mode):
        raise ZooError(f"there is no mode {mode!r}; known: {', '.join(get_args(Mode))}")
    network = magnifier(model).to(device)
    alpha = gain + 1 if network.convention == "tf" else gain

    def encode(block: np.ndarray) -> tuple[Tensor, Tensor]:
        code = network.encode(torch.from_numpy(block).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1)
        return code.texture, code.shape

    def drawn(texture: Tensor, shape: Tensor, block: np.ndarray) -> Iterator[np.ndarray]:
        pictures = network.decode(texture, shape)[..., : block.shape[1], : block.shape[2]].clamp(-1, 1)
        yield from ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    with torch.inference_mode():
        if mode == "temporal":
            if fps is None:
                raise ZooError("a band of frequencies needs the frame rate, and the frames do not say it; give fps")
            band_pass = Filter(sections("butterworth", fps, band=band))
            for block, counts in blocks(warmed_up(frames, fps), BLOCK):
                texture, shape = encode(block)
                passed = torch.from_numpy(band_pass(shape.cpu().numpy())).to(device)
                moved = network.manipulate(torch.zeros_like(passed), passed, alpha) + shape - passed
                keep = torch.from_numpy(counts)
                yield from drawn(texture[keep], moved[keep], block) if counts.any() else ()
            return
        frames = iter(frames)
        before: Tensor | None = None
        while chunk := list(islice(frames, BLOCK)):
            block = np.stack(chunk)
            texture, shape = encode(block)
            before = shape[:1] if before is None else before
            if mode == "static":
                reference = before.expand_as(shape)
            else:
                reference = torch.cat((before, shape[:-1]))
                before = shape[-1:]
            yield from drawn(texture, network.manipulate(reference, shape, alpha), block)


def magnifier(model: str | MagNet) -> MagNet:
    """A network in eval mode, by name or as it is. Raises ZooError where the weights are no magnifier."""
    from zoo.models.magnet import MagNet

    if isinstance(model, str):
        from zoo.weights import load

        network = load(model)
        if not isinstance(network, MagNet):
            raise ZooError(f"{model} does not magnify; `zoo models --pretrained 'magnet*'` lists what does")
        return network
    return model.eval()
