"""How far running statistics have moved, in words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normwise.surgery._sites import Site

New = list[tuple[nn.Module, dict[str, Tensor]]]
"""Modules with the values that their buffers are to get."""


def moved(new: New, eps: float, sigmas: list[Tensor] | None = None) -> str:
    """The largest shift of a mean, in new standard deviations, and the factors of the deviations; before it is written.

    ``eps`` is in the deviations, as it is where they normalize. Where a module has no variance, `sigmas` tell it.
    """
    shifts: list[float] = []
    factors: list[Tensor] = []
    for number, (holder, values) in enumerate(new):
        old = {name: holder.get_buffer(name).double() for name in values}
        sigma = None if sigmas is None else (sigmas[number].square() + eps).sqrt()
        if "running_var" in values:
            sigma = (values["running_var"] + eps).sqrt()
            factors.append((sigma / (old["running_var"] + eps).sqrt()).flatten())
        if "running_mean" in values and sigma is not None:
            shifts.append(float(((values["running_mean"] - old["running_mean"]).abs() / sigma).max()))
    text = [f"mean moved by up to {max(shifts):.2g} σ"] if shifts else []
    if factors:
        low, high = (f"{float(f(torch.cat(factors))):.2g}" for f in (torch.min, torch.max))
        text.append(f"σ times {low}" if low == high else f"σ times {low} to {high}")
    return ", ".join(text)


def shift(site: Site, new: New) -> str:
    """The same of a layer with pooled values, and how many they are."""
    pools = [pool for pool in site.pools if float(pool.part.count) > 0.0]
    calls = sum(float(pool.calls) for pool in site.pools)
    left_out = sum(float(pool.left_out) for pool in site.pools)
    count = sum(float(pool.part.count) for pool in pools)
    kept = calls - left_out
    text = [
        moved(new, float(getattr(site.module, "eps", 0.0)), [site.deviation(pool.part) for pool in pools]),
        f"{count:,.10g} {site.unit} in {kept:.0f} batch{'' if kept == 1 else 'es'}",
    ]
    if left_out:
        text.append(f"{left_out:.0f} left out, which had values that are not finite")
    return "; ".join(text)
