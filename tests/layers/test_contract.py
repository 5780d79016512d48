"""Every layer under the contract; what a layer refuses is in its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from torch import nn

from normwise import layers as nw
from normwise.testing import BACKENDS, FEATURES, LayerCase, check_layer

SHAPES = {1: (3, 6, 5), 2: (3, 6, 4, 5), 3: (2, 6, 2, 3, 4)}
Make = Callable[[], nn.Module]


def rows() -> dict[str, LayerCase]:
    cases: dict[str, LayerCase] = {}

    def add(
        name: str,
        make: Make,
        shape: tuple[int, ...],
        twin: Make | None = None,
        differs: Mapping[str, str] | None = None,
    ) -> None:
        backends = {**BACKENDS, **({} if twin else {"twin": "none"}), **(differs or {})}
        cases[name] = LayerCase(make, shape, twin, backends=backends)

    for rank, shape in SHAPES.items():
        for family in ("BatchNorm", "InstanceNorm"):
            ours, theirs = getattr(nw, f"{family}{rank}d"), getattr(nn, f"{family}{rank}d")
            fused = getattr(nw, f"{family}Act{rank}d")
            add(f"{family}{rank}d", lambda o=ours: o(6), shape, lambda t=theirs: t(6))
            add(f"{family}Act{rank}d", lambda f=fused: f(6), shape, lambda t=theirs: t(6))
        for family in ("LayerNorm", "RMSNorm"):
            ours, fused = getattr(nw, f"{family}{rank}d"), getattr(nw, f"{family}Act{rank}d")
            add(f"{family}{rank}d", lambda o=ours: o(6), shape)
            add(f"{family}Act{rank}d", lambda f=fused: f(6, activation="silu"), shape)

    plane, flat = SHAPES[2], (4, 6)
    add("BatchNorm1d, flat", lambda: nw.BatchNorm1d(6), flat, lambda: nn.BatchNorm1d(6))
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
            lambda o=options: nw.BatchNorm2d(6, **o),
            plane,
            lambda o=options: nn.BatchNorm2d(6, **o),
        )
    for options in (
        {"affine": True},
        {"affine": True, "bias": False},
        {"affine": True, "track_running_stats": True},
    ):
        name = list(options)[-1]
        add(
            f"InstanceNorm2d, {name}",
            lambda o=options: nw.InstanceNorm2d(6, **o),
            plane,
            lambda o=options: nn.InstanceNorm2d(6, **o),
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
        add(f"Dropout{rank}d", lambda o=ours: o(0.3), SHAPES[rank], lambda t=theirs: t(0.3), channels)
    return cases


CASES = rows()


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", CASES)
def test_contract(name: str, feature: str) -> None:
    check_layer(CASES[name], feature)


# Where kernels run, the fastest binding has run above: the portable one is the other.
@pytest.mark.parametrize("feature", [name for name, backend in BACKENDS.items() if backend == "cpu"])
@pytest.mark.parametrize("name", CASES)
def test_contract_of_the_portable_kernels(name: str, feature: str) -> None:
    named = CASES[name].backends or {}
    backends = {key: "portable" if backend == "cpu" else backend for key, backend in named.items()}
    check_layer(replace(CASES[name], backends=backends), feature)


def test_every_normalization_has_a_row() -> None:
    names = {name.split(",")[0] for name in CASES}
    public = {name for name in nw.__all__ if isinstance(getattr(nw, name), type)}
    assert public - names == {
        "AlphaDropout",
        "WeightNorm",
    }  # WeightNorm is a parametrization; see test_weight_norm
