"""Weight normalization."""

from __future__ import annotations

from torch import Tensor
from torch.compiler import is_compiling

from normwise.kernels import cpu
from normwise.kernels.aten import weight_norm as by_torch
from normwise.kernels.registry import requested


def weight_norm(gain: Tensor, direction: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A weight from its length and its direction.

    ``w = gain · v / ‖v‖``, the norm over `axes`. Where ``‖v‖ = 0`` the length is taken as 1: the weight is 0
    and the gradients are finite (torch's own give NaN).

    Args:
        gain: broadcasts against the direction, size 1 on `axes`.
        direction: the tensor v.
        axes: the axes over which the norm is taken.

    Returns:
        The shape and dtype of the direction.

    Source: Salimans & Kingma 2016, equation 2.

    >>> import torch
    >>> weight_norm(torch.tensor([[10.0], [1.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]), (1,))
    tensor([[6., 8.],
            [0., 0.]])
    """
    output = None if is_compiling() else cpu.attempt_weight_norm(requested(), gain, direction, axes)
    return by_torch(gain, direction, axes) if output is None else output
