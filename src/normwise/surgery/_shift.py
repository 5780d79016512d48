"""How far running statistics have moved, in words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normwise.surgery._sites import Site


def shift(site: Site, new: list[tuple[nn.Module, dict[str, Tensor]]]) -> str:
    """The largest shift of a mean, in new standard deviations, and of the deviation as factors; before it is written.

    ``eps`` is in both deviations, as it is where they normalize.
    """
    parts = [pool.part for pool in site.pools if float(pool.part.count) > 0.0]
    eps = float(getattr(site.module, "eps", 0.0))
    means: list[float] = []
    factors: list[Tensor] = []
    for holder, values in new:
        old = {name: holder.get_buffer(name).double() for name in values}
        if "running_var" in values:
            var = values["running_var"] + eps
            factors.append((var / (old["running_var"] + eps)).sqrt())
            sigma = var.sqrt()
        else:
            sigma = (site.deviation(parts[len(means)]).square() + eps).sqrt()
        if "running_mean" in values:
            means.append(float(((values["running_mean"] - old["running_mean"]).abs() / sigma).max()))
    text = [f"mean moved by up to {max(means):.2g} σ"] if means else []
    if factors:
        low, high = (
            float(f(torch.cat([factor.flatten() for factor in factors]))) for f in (torch.min, torch.max)
        )
        text.append(
            f"σ times {low:.2g}" if f"{low:.2g}" == f"{high:.2g}" else f"σ times {low:.2g} to {high:.2g}"
        )
    calls = sum(float(pool.calls) for pool in site.pools)
    left_out = sum(float(pool.left_out) for pool in site.pools)
    count = sum(float(part.count) for part in parts)
    kept = calls - left_out
    text = [", ".join(text), f"{count:,.10g} {site.unit} in {kept:.0f} batch{'' if kept == 1 else 'es'}"]
    if left_out:
        text.append(f"{left_out:.0f} left out, which had values that are not finite")
    return "; ".join(text)
