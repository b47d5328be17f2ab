"""Dropout masks as torch's generator draws them, a dozen times faster: mt19937 in blocks instead of number by number."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.train.kernels import compiled

_WORDS = slice(
    24, 24 + 624 * 8
)  # of the state; before them: seed, words left + 1, seeded, next word; then normal numbers
_BYTES = 5056


def dropout_factors(count: int, p: float) -> np.ndarray:
    """What :func:`torch.nn.functional.dropout` would multiply ``count`` values by, from torch's generator; 0 or 1 / (1 - p)."""
    out = np.ones(count, np.float32)
    if not p:
        return out
    if p == 1 or not same_generator():
        torch.from_numpy(out).bernoulli_(1 - p).div_(1 - p)
        return np.nan_to_num(out)
    state = torch.get_rng_state()
    _advance(state, p, out)
    torch.set_rng_state(state)
    return out


@cache
def same_generator() -> bool:
    """Whether this torch draws as :func:`draw` does: builds differ, so it is tried once."""
    generator = torch.Generator().manual_seed(7)
    if len(generator.get_state()) != _BYTES:
        return False
    for p in (0.5, 0.3):
        for count in (7, 300, 5000):  # within a block of words, to its end and beyond
            state, out = generator.get_state(), np.empty(count, np.float32)
            _advance(state, p, out)
            like = torch.empty(count).bernoulli_(1 - p, generator=generator).div_(1 - p)
            if not torch.equal(torch.from_numpy(out), like) or not torch.equal(state, generator.get_state()):
                return False
    return True


def _advance(state: Tensor, p: float, out: np.ndarray) -> None:
    """Fill ``out``, and move the state on."""
    raw = state.numpy()
    left, words = raw[8:12].view(np.int32), raw[_WORDS].view(np.uint64)
    now = words.astype(np.uint32)
    bound = math.ceil((1 - p) * 2**53)  # k / 2^53 < q: k < ceil(q 2^53)
    over = draw(now, int(left[0]) - 1, bound, 1 / np.float32(1 - p), out)
    words[:] = now
    left[0] = over + 1
    raw[16:24].view(np.uint64)[0] = 624 - over


@compiled
def draw(words: Any, left: int, bound: int, factor: float, out: Any) -> int:
    """Dropout as torch's generator (mt19937) draws it: ``factor`` where 53 random bits are below ``bound``, else 0.

    Args:
        words: uint32 ``[624]``, state of the generator; written to.
        left: how many of them are not used yet.
        out: float32, filled.

    Returns:
        How many words are left.
    """
    ready, one, none = np.empty(624, np.uint32), np.float32(factor), np.float32(0)
    at, i, mask = 624 - left, 0, (1 << 21) - 1
    _temper(words, ready)
    while i < out.shape[0]:
        pairs = min((624 - at) // 2, out.shape[0] - i)
        drawn, to = ready[at : at + 2 * pairs], out[i : i + pairs]
        for j in range(pairs):  # two words make one number
            bits = (np.int64(drawn[2 * j]) & mask) << 32 | np.int64(drawn[2 * j + 1])
            to[j] = one if bits < bound else none
        i, at = i + pairs, at + 2 * pairs
        if i < out.shape[0]:
            last = np.int64(ready[623])
            _twist(words)
            _temper(words, ready)
            at -= 623  # 1 if a word was over, whose partner is the first of the next block
            if at == 0:
                bits = (last & mask) << 32 | np.int64(ready[0])
                out[i] = one if bits < bound else none
                i += 1
            at = 1 - at
    return 624 - at


@compiled
def _twist(words: Any) -> None:
    for i in range(227):
        words[i] = words[i + 397] ^ _mix(words[i], words[i + 1])
    for i in range(396):
        words[i + 227] = words[i] ^ _mix(words[i + 227], words[i + 228])
    words[623] = words[396] ^ _mix(words[623], words[0])


@compiled
def _mix(a: Any, b: Any) -> Any:
    y = (a & np.uint32(0x80000000)) | (b & np.uint32(0x7FFFFFFF))
    return (y >> np.uint32(1)) ^ (np.uint32(0x9908B0DF) if y & np.uint32(1) else np.uint32(0))


@compiled
def _temper(words: Any, ready: Any) -> None:
    for i in range(624):
        y = words[i]
        y ^= y >> np.uint32(11)
        y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
        y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
        ready[i] = y ^ (y >> np.uint32(18))
