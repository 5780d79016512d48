"""What each group of cases must reach.

A ratio is a rival's time over normwise's. Where the two bindings differ, the bar of the one that ran counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SLOWER = 0.95
"""What normwise picks by itself is slower than eager below this ratio."""

WORST = 0.85
"""Share of its bar that every single shape must reach."""


@dataclass(frozen=True)
class Bar:
    """A floor for the geometric mean of a group, or, for "memory", a ceiling.

    Attributes:
        native: the floor where the native binding ran in all cases; None if it is the same.
        worst: share of the bar that every single case must reach.
    """

    group: str
    title: str
    quantity: Literal["eager", "compile", "memory"]
    portable: float
    native: float | None = None
    worst: float = WORST


def _bars(
    group: str,
    title: str,
    eager: float,
    compiled: float | None = None,
    *,
    native: float | None = None,
    native_compiled: float | None = None,
) -> tuple[Bar, ...]:
    """The floors against eager and, where there is one, against torch.compile."""
    first = Bar(group, title, "eager", eager, native)
    return (first,) if compiled is None else (first, Bar(group, title, "compile", compiled, native_compiled))


_STEP = "step, BN → ReLU → dropout: MLP"

BARS: tuple[Bar, ...] = (
    *_bars("bn", "BN, 4-D", 1.6, 1.2),
    # torch.compile stores a mask of bools here, which this compiler does badly: no bar against it.
    *_bars("bn_relu_nchw", "BN → ReLU, NCHW", 3.0),
    *_bars("bn_relu_channels_last", "BN → ReLU, channels_last", 2.4),
    *_bars("bn_add_relu", "BN + residual → ReLU", 2.0),
    *_bars("dropout", "Dropout", 18.0, 15.0),
    *_bars("bn_relu_dropout", "BN → ReLU → dropout", 10.0, 9.0),
    *_bars("rms_norm", "RMSNorm", 6.0, 1.25),
    *_bars("layer_norm", "LayerNorm", 1.1, 1.25),
    *_bars("layer_norm_channels", "LayerNorm over channels, formula", 8.0, 1.3),
    *_bars("group_norm", "GroupNorm, channels_last", 2.0, 1.6),
    *_bars("instance_norm", "InstanceNorm, channels_last", 4.0, 1.6),
    *_bars("penalty", "penalties, 10M parameters", 2.5, 0.9),
    *_bars("call", "BN, one 32×64 call", 1.0, 2.0, native=1.4),
    *_bars("mlp_256_dropout", f"{_STEP}, batch 256", 1.8, 1.8, native=2.0, native_compiled=2.0),
    *_bars("mlp_4096_dropout", f"{_STEP}, batch 4096", 2.05, 2.05, native=2.15, native_compiled=2.15),
    *_bars("mlp_tiny_dropout", f"{_STEP}, tiny", 1.5, 1.5, native=2.1, native_compiled=2.1),
    *_bars("cnn", "step: residual CNN", 1.12, 1.0),
    *_bars("mlp", "step, BN → ReLU: MLPs", 1.0, 1.0, native=1.05),
    Bar("evaluation", "evaluation", "eager", 1.0, worst=SLOWER),
    Bar("bn_relu_dropout", "memory saved by BN → ReLU → dropout", "memory", 0.4, worst=1.0),
)
