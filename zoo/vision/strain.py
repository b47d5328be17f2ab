"""Optical strain: how much the skin stretches, whatever the head does."""

from __future__ import annotations

import numpy as np

from zoo.errors import ZooError


def optical_strain(flow: np.ndarray) -> np.ndarray:
    r"""Magnitude of the infinitesimal strain of a flow field.

    .. math:: \epsilon = \sqrt{u_x^2 + v_y^2 + \tfrac12 (u_y + v_x)^2}

    the Frobenius norm of the symmetric gradient, with x along columns and y along rows. A translation and a small
    rotation strain nothing; an expansion by s gives :math:`s\sqrt2`, a shear :math:`u = s y` gives :math:`s/\sqrt2`.

    Reading: the literature differs in the discretisation (backward differences with a zero first row and column in the
    MATLAB of the STSTNet group, forward differences elsewhere). Here: central differences, one-sided at the border,
    since one-sided ones shift the picture by half a pixel and leave a dead row and column behind.

    Args:
        flow: u (right) and v (down), in pixels.

    Shapes: flow ``[2, H, W]`` -> ``[H, W]`` float32, dimensionless, never negative.

    Raises:
        ZooError: not a flow field, or one narrower than 2 pixels.
    """
    if flow.ndim != 3 or flow.shape[0] != 2 or min(flow.shape[1:]) < 2:
        raise ZooError(f"optical strain wants a flow [2, H, W] of at least 2x2 pixels, got {list(flow.shape)}")
    (u_y, u_x), (v_y, v_x) = (np.gradient(component.astype(np.float32)) for component in flow)
    strain: np.ndarray = np.sqrt(u_x**2 + v_y**2 + 0.5 * (u_y + v_x) ** 2)
    return strain
