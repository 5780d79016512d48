"""Statistics that the dtype of their buffers cannot hold."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain


def check_range(who: str, name: str, key: str, values: Tensor, dtype: torch.dtype) -> None:
    """Raise `ArgumentError`, a ValueError, where a finite value is beyond a dtype, and would become infinite in it.

    Torch takes running statistics in the dtype of the weight alone, so that float32 ones are no way out.

    >>> check_range("f", "bn", "running_var", torch.tensor([6e4], dtype=torch.float64), torch.float16)
    >>> check_range("f", "bn", "running_var", torch.tensor([9e4], dtype=torch.float64), torch.bfloat16)
    """
    if not dtype.is_floating_point:
        return
    beyond = values[values.isfinite() & ~values.to(dtype).isfinite()]
    if beyond.numel():
        owner, text = f"`{name}`" if name else "the model", str(dtype).removeprefix("torch.")
        must = f"{key} of {owner} must fit into {text}, which ends at {torch.finfo(dtype).max:.6g}"
        hint = "give the model in float32 or bfloat16, and leave the layer in it"
        raise ArgumentError(explain(who, must, f"{float(beyond.abs().max()):.3g}", hint))
