"""Places whose module went into a fused layer, and what brings it back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from normwise.surgery._twins import DROPOUTS, LINK, activation_name, rebuild


@dataclass(frozen=True, eq=False)
class Vacated:
    """The module that stood at a place that an `nn.Identity` keeps now.

    The fused layer and the identity hold the same record, which copies and pickles of the model keep; so
    each finds the other, wherever in a larger model they are moved.
    """

    module: nn.Module


def fuse(norm: nn.Module, kind: type[nn.Module], following: list[nn.Module]) -> list[nn.Module]:
    """The fused layer for a norm and what follows it, then an identity for each of the latter."""
    activation, dropout = "none", 0.0
    for module in following:
        if type(module) in DROPOUTS:
            dropout = float(module.p)  # type: ignore[arg-type]  # torch types attributes of modules as Tensor | Module
        else:
            activation = activation_name(module) or "none"
    fused = rebuild(norm, kind, activation=activation, dropout=dropout)
    records = tuple(Vacated(module) for module in following)
    vars(fused)[LINK] = records
    identities = []
    for record in records:
        identity = nn.Identity().train(record.module.training)
        vars(identity)[LINK] = record
        identities.append(identity)
    return [fused, *identities]
