"""The cases of a full run, as data: shapes that bars speak of; small, odd, 3-d and 16-bit ones; evaluation."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from normwise.bench.case import Case, Layout
from normwise.bench.models import NETWORKS
from normwise.errors import ArgumentError, explain
from normwise.results import Mode

_IMAGE = (32, 64, 56, 56)
_DEEP = (32, 128, 28, 28)
_TABLE = (8192, 784)
_FEATURES = (4096, 1024)
_VOLUME = (8, 32, 16, 56, 56)
_WEIGHTS = (10, 1000, 1000)
_LAST: Layout = "channels_last"

_BARRED = (
    Case("batch_norm", _IMAGE, group="bn", quick=True),
    Case("batch_norm", _IMAGE, _LAST, group="bn", quick=True),
    Case("batch_norm_relu", _IMAGE, group="bn_relu_nchw", quick=True),
    Case("batch_norm_relu", _IMAGE, _LAST, group="bn_relu_channels_last", quick=True),
    Case("batch_norm_add_relu", _IMAGE, group="bn_add_relu", quick=True),
    Case("dropout", _TABLE, group="dropout"),
    Case("dropout", (256, 1024), group="dropout", quick=True),
    Case("batch_norm_relu_dropout", _TABLE, group="bn_relu_dropout"),
    Case("batch_norm_relu_dropout", (256, 1024), group="bn_relu_dropout", quick=True),
    Case("rms_norm", _TABLE, group="rms_norm"),
    Case("rms_norm", _FEATURES, group="rms_norm", quick=True),
    Case("layer_norm", _TABLE, group="layer_norm"),
    Case("layer_norm", _FEATURES, group="layer_norm", quick=True),
    # The bar was set against the formula; against torch's operator between two permutations, see below.
    Case("layer_norm_channels_formula", _IMAGE, group="layer_norm_channels", quick=True),
    Case("layer_norm_channels_formula", _IMAGE, _LAST, group="layer_norm_channels"),
    Case("group_norm", _IMAGE, _LAST, group="group_norm", quick=True),
    Case("group_norm", _DEEP, _LAST, group="group_norm"),
    Case("instance_norm", _IMAGE, _LAST, group="instance_norm", quick=True),
    Case("l1_penalty", _WEIGHTS, group="penalty"),
    Case("l2_penalty", _WEIGHTS, group="penalty", quick=True),
    Case("batch_norm", (32, 64), group="call", quick=True),
)


def _steps() -> tuple[Case, ...]:
    judged_together = {"mlp_256": "mlp", "mlp_4096": "mlp", "mlp_tiny": "mlp"}
    quick = ("mlp_256_dropout", "mlp_tiny_dropout", "mlp_tiny")
    return tuple(
        Case(
            network.name,
            network.shape,
            _LAST if network.layout == _LAST else "contiguous",
            mode="step",
            group=judged_together.get(network.name, network.name),
            quick=network.name in quick,
        )
        for network in NETWORKS.values()
    )


_FURTHER = (
    # Two axes, and the layouts that no bar speaks of.
    Case("batch_norm", (256, 128)),
    Case("batch_norm", _TABLE),
    Case("batch_norm", (48, 64, 56, 56)),  # above 32 MiB, from where glibc maps every output anew
    Case("batch_norm", _DEEP),
    Case("batch_norm", _DEEP, _LAST),
    Case("batch_norm_relu", (256, 128)),
    Case("batch_norm_add_relu", _IMAGE, _LAST),
    Case("batch_norm_relu_dropout", _IMAGE),
    Case("group_norm", _IMAGE),
    Case("group_norm_relu", _IMAGE, _LAST),
    Case("instance_norm", _IMAGE),
    Case("instance_norm_relu", _IMAGE, _LAST),
    Case("layer_norm_relu", _FEATURES),
    Case("rms_norm_relu", _FEATURES),
    Case("layer_norm_channels", _IMAGE),
    Case("layer_norm_channels", _IMAGE, _LAST),
    Case("rms_norm_channels", _IMAGE),
    Case("rms_norm_channels", _IMAGE, _LAST),
    Case("weight_norm", (32, 64)),
    # Small: overhead alone.
    Case("batch_norm_relu_dropout", (32, 64)),
    Case("layer_norm", (32, 64)),
    Case("layer_norm", (256, 128)),
    Case("rms_norm", (32, 64)),
    Case("rms_norm", (256, 128)),
    Case("dropout", (32, 64)),
    Case("dropout", (256, 128)),
    Case("group_norm", (8, 32, 8, 8), _LAST),
    Case("layer_norm_channels", (8, 32, 8, 8)),
    Case("l2_penalty", (3, 64, 64)),
    # Odd: no axis is a multiple of a vector.
    Case("batch_norm", (33, 67)),
    Case("batch_norm", (31, 61, 55, 57)),
    Case("batch_norm", (31, 61, 55, 57), _LAST),
    Case("batch_norm_relu", (7, 13, 29, 31), _LAST),
    Case("layer_norm", (4097, 1023)),
    Case("rms_norm", (4097, 1023)),
    Case("dropout", (257, 1021)),
    Case("group_norm", (31, 63, 55, 57), _LAST),
    # Volumes.
    Case("batch_norm", _VOLUME),
    Case("batch_norm", _VOLUME, _LAST),
    Case("batch_norm_relu", _VOLUME),
    # 16 bits.
    Case("batch_norm", _IMAGE, dtype="bfloat16"),
    Case("batch_norm", _IMAGE, _LAST, dtype="bfloat16"),
    Case("batch_norm_relu", _IMAGE, _LAST, dtype="bfloat16"),
    Case("layer_norm", _TABLE, dtype="bfloat16"),
    Case("rms_norm", _TABLE, dtype="bfloat16"),
    Case("dropout", _TABLE, dtype="bfloat16"),
)


def _evaluation() -> tuple[Case, ...]:
    mode: Mode = "evaluation"
    quick = (
        Case("batch_norm", _IMAGE),
        Case("batch_norm_relu", _IMAGE, _LAST),
        Case("layer_norm", _FEATURES),
    )
    others = (
        Case("batch_norm", (32, 64)),
        Case("batch_norm", _TABLE),
        Case("batch_norm", _IMAGE, _LAST),
        Case("batch_norm_relu", _IMAGE),
        Case("batch_norm_add_relu", _IMAGE),
        Case("batch_norm_add_relu", _IMAGE, _LAST),
        Case("batch_norm_relu_dropout", _TABLE),
        Case("layer_norm", (32, 64)),
        Case("layer_norm_channels", _IMAGE),
        Case("layer_norm_channels", _IMAGE, _LAST),
        Case("rms_norm", _FEATURES),
        Case("group_norm", _IMAGE, _LAST),
        Case("instance_norm", _IMAGE, _LAST),
        Case("dropout", _TABLE),
        *(Case(name, NETWORKS[name].shape) for name in ("mlp_256_dropout", "mlp_tiny_dropout")),
        Case("cnn", NETWORKS["cnn"].shape, _LAST),
    )
    return (
        *(replace(case, mode=mode, group="evaluation", quick=True) for case in quick),
        *(replace(case, mode=mode, group="evaluation") for case in others),
    )


CASES: tuple[Case, ...] = (*_BARRED, *_steps(), *_FURTHER, *_evaluation())


def select(patterns: tuple[str, ...] = (), *, quick: bool = False) -> tuple[Case, ...]:
    """Return the cases whose name or group holds one of the patterns; `*` and `?` stand for other text.

    Raises:
        ArgumentError: a pattern that no case answers to.

    >>> [case.name for case in select(("l1_*",))]
    ['l1_penalty 10x1000x1000 contiguous float32 training']
    """
    found = [case for case in CASES if case.quick or not quick]
    if not patterns:
        return tuple(found)
    for pattern in patterns:
        if not any(_answers(case, pattern) for case in found):
            among = "the cases of --quick" if quick else "the cases"
            raise ArgumentError(
                explain(
                    "bench", f"`--only` must be found in {among}", repr(pattern), "see normwise bench --list"
                )
            )
    return tuple(case for case in found if any(_answers(case, pattern) for pattern in patterns))


def _answers(case: Case, pattern: str) -> bool:
    return case.group == pattern or fnmatchcase(case.name, f"*{pattern}*")
