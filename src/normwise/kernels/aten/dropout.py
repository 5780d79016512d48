"""Dropout through `torch.dropout`."""

from __future__ import annotations

import torch
from torch import Tensor


def dropout(input: Tensor, p: float, inplace: bool, generator: torch.Generator | None) -> Tensor:
    """Drop elements in training; torch's operator takes no generator, so one that is given draws a mask."""
    if generator is None:
        return torch.dropout_(input, p, True) if inplace else torch.dropout(input, p, True)
    scale = 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    kept = torch.empty_like(input).bernoulli_(1.0 - p, generator=generator) * scale
    return input.mul_(kept) if inplace else input * kept
