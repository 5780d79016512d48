"""The layers with torch's names, their fused forms, and layer and RMS normalization over channels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from normwise import layers as nw
from normwise.testing._backends import BACKENDS
from normwise.testing._case import LayerCase
from normwise.testing.cases._shapes import SHAPES, Make
from normwise.testing.contract import FEATURES


def cases() -> dict[str, LayerCase]:
    """Every class with torch's name, its fused form, and the forms over channels; name → case."""
    found: dict[str, LayerCase] = {}

    def add(
        name: str,
        make: Make,
        shape: tuple[int, ...],
        twin: Make | None = None,
        differs: Mapping[str, str] | None = None,
    ) -> None:
        backends = {**BACKENDS, **({} if twin else {"twin": "none"}), **(differs or {})}
        found[name] = LayerCase(make, shape, twin, backends=backends)

    for rank, shape in SHAPES.items():
        for family in ("BatchNorm", "InstanceNorm"):
            ours, theirs = getattr(nw, f"{family}{rank}d"), getattr(nn, f"{family}{rank}d")
            fused = getattr(nw, f"{family}Act{rank}d")
            add(f"{family}{rank}d", partial(ours, 6), shape, partial(theirs, 6))
            add(f"{family}Act{rank}d", partial(fused, 6), shape, partial(theirs, 6))
        for family in ("LayerNorm", "RMSNorm"):
            ours, fused = getattr(nw, f"{family}{rank}d"), getattr(nw, f"{family}Act{rank}d")
            add(f"{family}{rank}d", partial(ours, 6), shape)
            add(f"{family}Act{rank}d", partial(fused, 6, activation="silu"), shape)

    plane, flat = SHAPES[2], (4, 6)
    add("BatchNorm1d, flat", lambda: nw.BatchNorm1d(6), flat, lambda: nn.BatchNorm1d(6))
    add("SyncBatchNorm", lambda: nw.SyncBatchNorm(6), plane, None)
    for options in (
        {"momentum": None},
        {"affine": False},
        {"bias": False},
        {"track_running_stats": False},
        {"eps": 0.1, "momentum": 0.7},
    ):
        name = next(iter(options))
        add(
            f"BatchNorm2d, {name}",
            partial(nw.BatchNorm2d, 6, **options),
            plane,
            partial(nn.BatchNorm2d, 6, **options),
        )
    tracked: tuple[dict[str, Any], ...] = (
        {"affine": True},
        {"affine": True, "bias": False},
        {"affine": True, "track_running_stats": True},
    )
    for options in tracked:
        name = list(options)[-1]
        add(
            f"InstanceNorm2d, {name}",
            partial(nw.InstanceNorm2d, 6, **options),
            plane,
            partial(nn.InstanceNorm2d, 6, **options),
        )
    add("GroupNorm", lambda: nw.GroupNorm(3, 6), plane, lambda: nn.GroupNorm(3, 6))
    add("GroupNorm, flat", lambda: nw.GroupNorm(2, 6), flat, lambda: nn.GroupNorm(2, 6))
    add("GroupNorm, one group", lambda: nw.GroupNorm(1, 6), SHAPES[3], lambda: nn.GroupNorm(1, 6))
    add(
        "GroupNorm, no affine",
        lambda: nw.GroupNorm(6, 6, affine=False),
        plane,
        lambda: nn.GroupNorm(6, 6, affine=False),
    )
    add("GroupNormAct", lambda: nw.GroupNormAct(3, 6), plane, lambda: nn.GroupNorm(3, 6))
    add("LayerNorm", lambda: nw.LayerNorm(5), SHAPES[1], lambda: nn.LayerNorm(5))
    add("LayerNorm, two axes", lambda: nw.LayerNorm([6, 5]), SHAPES[1], lambda: nn.LayerNorm([6, 5]))
    add(
        "LayerNorm, no bias",
        lambda: nw.LayerNorm(5, bias=False),
        SHAPES[1],
        lambda: nn.LayerNorm(5, bias=False),
    )
    add("LayerNormAct", lambda: nw.LayerNormAct(5), SHAPES[1], lambda: nn.LayerNorm(5))
    add("RMSNorm", lambda: nw.RMSNorm(5), SHAPES[1], lambda: nn.RMSNorm(5))
    add("RMSNorm, eps", lambda: nw.RMSNorm(5, eps=0.1), SHAPES[1], lambda: nn.RMSNorm(5, eps=0.1))
    add("RMSNormAct", lambda: nw.RMSNormAct(5), SHAPES[1], lambda: nn.RMSNorm(5))
    add("BatchNormAct2d, relu, dropout", lambda: nw.BatchNormAct2d(6, activation="relu", dropout=0.3), plane)
    # In evaluation dropout does nothing; only torch's operators draw the twin's masks, and go over gaps in memory.
    add(
        "Dropout",
        lambda: nw.Dropout(0.3),
        plane,
        lambda: nn.Dropout(0.3),
        {"twin": "aten", "non_contiguous": "aten"}
        | dict.fromkeys(("threads", "state_dict", "vmap", "export"), "none"),
    )
    for rank in SHAPES:
        ours, theirs = getattr(nw, f"Dropout{rank}d"), getattr(nn, f"Dropout{rank}d")
        # Whole channels are dropped by torch.
        channels = dict.fromkeys(FEATURES, "none") | {"compile": "aten", "export": "aten"}
        add(f"Dropout{rank}d", partial(ours, 0.3), SHAPES[rank], partial(theirs, 0.3), channels)
    return found
