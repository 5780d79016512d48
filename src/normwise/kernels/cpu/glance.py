"""Looks at few values beside torch's operators, for which other operators would cost as much as these.

Of a batch that is not finite running statistics take nothing: they are held while torch's operator moves them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normwise.kernels.cpu.portable import load

_increment_version = torch._C._increment_version


def hold(mean: Tensor, var: Tensor, batches: Tensor | None) -> Any:
    """What `settle` needs; None where there are no kernels, or the tensors are not plain, float or double, of one size.

    >>> hold(torch.zeros(2), torch.ones(3), None) is None
    True
    """
    kernels = load()[0]
    return None if kernels is None else kernels.hold(mean, var, batches)


def settle(held: Any, batches: Tensor | None) -> bool:
    """Whether both are finite: then the batch is counted; otherwise they become what they were."""
    finite: bool = held.settle()
    if finite and batches is not None:
        _increment_version([batches])
    return finite


def has_zero(tensor: Tensor) -> bool:
    """Whether any value is zero.

    >>> has_zero(torch.tensor([1.0, 0.0])), has_zero(torch.ones(2, 2).t())
    (True, False)
    """
    kernels = load()[0]
    found: bool | None = None if kernels is None else kernels.has_zero(tensor)
    return not bool(tensor.all()) if found is None else found
