"""Random inputs for operations: many shapes, layouts and dtypes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
LAYOUTS = ("contiguous", "channels last", "strided", "expanded")


@dataclass(frozen=True)
class Draw:
    """A channels-first input (N, C, *) with an affine map (either may be None) and a cotangent."""

    input: Tensor
    weight: Tensor | None
    bias: Tensor | None
    cotangent: Tensor

    @property
    def parameters(self) -> list[Tensor]:
        return [p for p in (self.weight, self.bias) if p is not None]


def randn(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.to(dtype)


def laid_out(x: Tensor, layout: str) -> Tensor:
    if layout == "channels last":
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "strided":
        return torch.stack((x, torch.full_like(x, torch.nan)), dim=-1)[..., 0]
    if layout == "expanded":
        return x[:1].expand_as(x)
    return x


@st.composite
def _draws(draw: st.DrawFn, least_positions: int = 0, parameters: str = "channels") -> Draw:
    rank = draw(st.integers(least_positions, 3))
    sizes = st.integers(2 if least_positions else 1, 5)
    shape = (draw(st.integers(1, 4)), draw(st.sampled_from((2, 6))), *(draw(sizes) for _ in range(rank)))
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 1000))
    x = laid_out(randn(shape, seed, dtype) * 2 + 1, draw(st.sampled_from(LAYOUTS)))
    affine = shape[1:2] if parameters == "channels" else shape[1:]
    weight = 1 + randn(affine, seed + 1, dtype) / 4 if draw(st.booleans()) else None
    bias = randn(affine, seed + 2, dtype) if weight is not None and draw(st.booleans()) else None
    for leaf in (x, weight, bias):
        if leaf is not None:
            leaf.requires_grad_()
    return Draw(x, weight, bias, randn(shape, seed + 3, dtype))


@pytest.fixture(scope="session")
def draws() -> object:
    """The strategy: `least_positions` axes or more of positions; parameters per "channels" or "elements"."""
    return _draws
