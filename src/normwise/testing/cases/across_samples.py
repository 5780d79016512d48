"""Normalizations across samples that are not plain batch normalization."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from normwise import layers as nw
from normwise.testing._backends import BACKENDS
from normwise.testing._case import LayerCase
from normwise.testing.cases._shapes import SHAPES

_NO_TWIN = {**BACKENDS, "twin": "none"}
_EVEN = {rank: (4, *shape[1:]) for rank, shape in SHAPES.items()}  # falls into two parts
_FLAT = (8, 6)


class _Mixed(nn.Module):
    """A layer with a domain for each sample, which a contract does not know of: it is read off the input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        domain = (input.detach().flatten(1).mean(1) > 0.5).long()
        output: Tensor = self.layer(input, domain)
        return output


class _Pure(nn.Module):
    """A layer with one domain for all samples."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.layer(input, 1)
        return output


def cases() -> dict[str, LayerCase]:
    """Every class over its ranks, and the options that change what is computed; name → case."""
    found: dict[str, LayerCase] = {}

    def add(name: str, *arguments: Any, shape: tuple[int, ...], variant: str = "", **options: Any) -> None:
        more = {key: options.pop(key) for key in ("backends", "refuses") if key in options}
        make = partial(getattr(nw, name), *arguments, **options)
        found[f"{name}{variant}"] = LayerCase(make, shape, **more)

    for rank, shape in SHAPES.items():
        even = _EVEN[rank]
        # Its moments have one binding only, so that no single back end runs; test_batch_renorm.py says which do.
        add(f"BatchRenorm{rank}d", 6, shape=shape)
        add(f"GhostBatchNorm{rank}d", 6, 2, shape=(5, *shape[1:]), backends=_NO_TWIN)
        # The auxiliary parts have no gradient in evaluation; gradients of training are in test_split_batch_norm.py.
        unused = {"gradients": AssertionError}
        add(f"SplitBatchNorm{rank}d", 6, shape=even, backends=_NO_TWIN, refuses=unused)
        for name in ("MeanOnlyBatchNorm#d", "SwitchableNorm#d", "DecorrelatedBatchNorm#d", "EvoNorm#dB0"):
            add(name.replace("#", str(rank)), 6, shape=even)
        domain = getattr(nw, f"DomainBatchNorm{rank}d")
        found[f"DomainBatchNorm{rank}d"] = LayerCase(partial(_compose, _Mixed, domain, 3), even)
        found[f"DomainBatchNorm{rank}d, one domain"] = LayerCase(
            partial(_compose, _Pure, domain, 2), even, backends=_NO_TWIN
        )

    # Where both corrections sit at their bounds they are constant, as finite differences need them to be.
    bounded = {"r_max": 1.01, "d_max": 0.01, "plain_steps": 0, "r_max_step": 0, "d_max_step": 0}
    add("BatchRenorm1d", 6, shape=_FLAT, variant=", at its bounds", **bounded)
    add("BatchRenorm2d", 6, shape=_EVEN[2], variant=", no affine", affine=False, momentum=None)
    options = {"affine": False, "track_running_stats": False}
    add("GhostBatchNorm1d", 6, 3, shape=(7, 6), variant=", untracked", backends=_NO_TWIN, **options)
    add("GhostBatchNorm3d", 6, 1, shape=_EVEN[3], variant=", momentum", backends=_NO_TWIN, momentum=None)
    add("MeanOnlyBatchNorm1d", 6, shape=_FLAT, variant=", no bias", bias=False, momentum=None)
    add("SwitchableNorm1d", 6, shape=_FLAT, variant=", flat", affine=False, momentum=None)
    add("DecorrelatedBatchNorm2d", 6, 2, shape=_EVEN[2], variant=", groups", affine=False, momentum=None)
    add("DecorrelatedBatchNorm1d", 6, 1, shape=(3, 6), variant=", fewer samples", eps=0.01, iterations=3)
    add("EvoNorm1dB0", 6, shape=_FLAT, variant=", flat", momentum=None, bias=False)
    found["DomainBatchNorm1d, flat"] = LayerCase(
        partial(_compose, _Mixed, nw.DomainBatchNorm1d, 2, momentum=None, bias=False), (10, 6)
    )
    return found


def _compose(wrapper: type[nn.Module], make: type[nn.Module], domains: int, **options: Any) -> nn.Module:
    return wrapper(make(6, domains, **options))
