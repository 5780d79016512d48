"""The layers that draw in training, but for the forms of `Dropout` in torch_named.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from normwise import layers as nw
from normwise.testing._case import LayerCase
from normwise.testing.cases._shapes import SHAPES


def cases() -> dict[str, LayerCase]:
    """Each layer, with its variants; name → case."""
    plane, words = SHAPES[2], (3, 5, 6)
    found = {
        "AlphaDropout": LayerCase(lambda: nw.AlphaDropout(0.3), plane, lambda: nn.AlphaDropout(0.3)),
        "FeatureAlphaDropout": LayerCase(
            lambda: nw.FeatureAlphaDropout(0.3), plane, lambda: nn.FeatureAlphaDropout(0.3)
        ),
        "GaussianDropout": LayerCase(lambda: nw.GaussianDropout(0.3), plane),
        "GaussianNoise": LayerCase(lambda: nw.GaussianNoise(0.3), plane),
        "LockedDropout": LayerCase(lambda: nw.LockedDropout(0.3), words),
        "LockedDropout, batch_first": LayerCase(lambda: nw.LockedDropout(0.3, batch_first=True), words),
        "WordDropout": LayerCase(lambda: nw.WordDropout(0.3), words),
        "StochasticDepth": LayerCase(lambda: nw.StochasticDepth(0.3), plane),
        "StochasticDepth, batch": LayerCase(lambda: nw.StochasticDepth(0.3, "batch", scale=False), plane),
        # Torch refuses to pickle a parametrized module; a state_dict is its way.
        "weight_dropout": LayerCase(
            lambda: nw.weight_dropout(nn.Linear(6, 5), 0.3),
            words,
            refuses={"pickle": RuntimeError},
            changes_shape=True,
        ),
    }
    blocks: dict[int, Callable[..., nn.Module]] = {1: nw.DropBlock1d, 2: nw.DropBlock2d, 3: nw.DropBlock3d}
    for rank, block in blocks.items():
        # With a warm-up, whose counter must be reset after `to_empty`, in tests/layers/test_drop_block.py.
        found[f"DropBlock{rank}d"] = LayerCase(partial(block, 0.3, 2), SHAPES[rank])
        found[f"DropBlock{rank}d, shared"] = LayerCase(
            partial(block, 0.3, 3, per_channel=False), SHAPES[rank]
        )
    return found
