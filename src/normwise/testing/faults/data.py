"""Faults of data: scales, constant and broken columns, classes, labels, and the size of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from normwise.diagnose.subject import Data, Setup
from normwise.testing.faults.fault import Fault, on_data, on_setup
from normwise.testing.faults.places import norms


def _inputs(change: Callable[[Tensor], Tensor]) -> Callable[[Data], Data]:
    def edit(data: Data) -> Data:
        return replace(
            data,
            inputs=change(data.inputs.clone()),
            validation_inputs=change(data.validation_inputs.clone()),
        )

    return edit


def _per_column(values: Tensor, inputs: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (inputs.dim() - 2))


def _raw(inputs: Tensor) -> Tensor:
    """Scales from 0.1 to 1000, and means of the same size."""
    scales = torch.logspace(-1, 3, inputs.shape[1])
    order = torch.randperm(len(scales), generator=torch.Generator().manual_seed(0))
    scale = _per_column(scales[order], inputs)
    return inputs * scale + 3 * scale


def _bytes(inputs: Tensor) -> Tensor:
    """About 0 to 255."""
    return 128 + 64 * inputs


def _other_unit(inputs: Tensor) -> Tensor:
    inputs[:, 1] *= 1000
    return inputs


def _targets(data: Data) -> Data:
    return replace(
        data,
        targets=20_000 + 8_000 * data.targets,
        validation_targets=20_000 + 8_000 * data.validation_targets,
    )


def _constant(inputs: Tensor) -> Tensor:
    inputs[:, : max(1, inputs.shape[1] // 3)] = 1.0
    return inputs


def _broken(value: float) -> Callable[[Data], Data]:
    """A value of every fiftieth sample."""

    def edit(data: Data) -> Data:
        inputs = data.inputs.clone()
        inputs.flatten(1)[::50, 3] = value
        return replace(data, inputs=inputs)

    return edit


def _imbalanced(data: Data) -> Data:
    """Of all classes but the first 3 % of the rows are left, at least two."""
    first = data.targets == 0
    kept = first.clone()
    for index in range(1, data.classes):
        rows = (data.targets == index).nonzero()[:, 0]
        kept[rows[: max(2, round(0.03 * len(rows)))]] = True
    return replace(data, inputs=data.inputs[kept], targets=data.targets[kept])


def _shuffled(data: Data) -> Data:
    order = torch.randperm(len(data.targets), generator=torch.Generator().manual_seed(0))
    return replace(data, targets=data.targets[order])


def _pairs(setup: Setup) -> Setup:
    return replace(setup, batch_size=2)


DATA = (
    Fault(
        "unscaled-features",
        "data",
        ("NW401",),
        "columns as they were measured, with scales from 0.1 to 1000",
        on_data(_inputs(_raw)),
        kind="columns",
    ),
    Fault(
        "raw-bytes",
        "data",
        ("NW401",),
        "inputs from 0 to 255",
        on_data(_inputs(_bytes)),
        needs={"norm": "none", "mlp": {"data": "digits"}, "transformer": {"data": "digits", "norm": "layer"}},
    ),
    Fault(
        "column-in-another-unit",
        "data",
        ("NW401",),
        "one column (or channel) a thousand times as large as the others",
        on_data(_inputs(_other_unit)),
        kind="columns",
    ),
    Fault(
        "unscaled-targets",
        "data",
        ("NW406",),
        "targets with mean 20,000 and standard deviation 8,000, as a price",
        on_data(_targets),
        kind="regression",
    ),
    Fault(
        "constant-features",
        "data",
        ("NW402",),
        "a third of the columns (or channels) never varies",
        on_data(_inputs(_constant)),
        kind="columns",
    ),
    Fault(
        "label-imbalance",
        "data",
        ("NW403",),
        "all classes but one are rare in the training part",
        on_data(_imbalanced),
        kind="classification",
    ),
    Fault(
        "batch-too-small",
        "data",
        ("NW404",),
        "batches of two samples under a batch normalization",
        on_setup(_pairs, norms),
        ("mlp", "cnn", "residual"),
        {"norm": "batch"},
    ),
    Fault(
        "not-a-number-in-inputs",
        "data",
        ("NW405",),
        "every fiftieth training sample has a value that is not a number",
        on_data(_broken(math.nan)),
    ),
    Fault(
        "infinity-in-inputs",
        "data",
        ("NW405",),
        "every fiftieth training sample has an infinite value",
        on_data(_broken(math.inf)),
    ),
    Fault(
        "shuffled-labels",
        "data",
        ("NW510",),
        "labels do not belong to their samples: all that can be learnt is each sample by heart",
        on_data(_shuffled),
    ),
)
