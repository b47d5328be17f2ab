"""Block means of onset→apex motion: the plainest descriptor, and the bar that networks are held against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin


class BlockFlow(TransformerMixin, BaseEstimator):
    """Mean of u, v and strain over a grid of blocks, after removing each picture's median flow from u and v.

    The median stands for the motion of the whole head and, in pictures stretched to 0..255, for the unknown grey level of
    "no motion". Strain does not feel the motion of the whole head, and keeps its level.

    Args:
        grid: blocks per side; must divide the height and the width.

    Shapes: ``[N, C, H, W]``, channels u and v first -> ``[N, C * grid * grid]``.
    """

    def __init__(self, grid: int = 7) -> None:
        self.grid = grid

    def fit(self, maps: NDArray[Any], labels: NDArray[Any] | None = None) -> BlockFlow:
        """Nothing to learn."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        """See the class. Raises ValueError where the grid does not divide the picture."""
        x = np.array(maps, np.float32)
        n, c, h, w = x.shape
        if h % self.grid or w % self.grid:
            raise ValueError(f"a grid of {self.grid} does not divide pictures of {w}x{h}; choose a divisor of both")
        x[:, :2] -= np.median(x[:, :2], (2, 3), keepdims=True)
        return x.reshape(n, c, self.grid, h // self.grid, self.grid, w // self.grid).mean((3, 5)).reshape(n, -1)
