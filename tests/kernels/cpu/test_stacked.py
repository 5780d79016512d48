"""Stacked models: each is equal, bit for bit, to its run alone."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch

CALLS = {
    "plain": {},
    "residual, ReLU, dropout": {"activation": "relu", "residual": True, "rate": 0.25},
    "GELU, dropout": {"activation": "gelu", "rate": 0.5},
    "evaluation": {"training": False, "activation": "relu"},
    "weighted": {"weighted": True},
    "bfloat16": {"dtype": torch.bfloat16, "parameter_dtype": torch.float32},
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("sizes", [(9, 5, 1), (33, 17, 7), (40, 64, 30)])
def test_a_model_of_a_stack_is_its_solo_run(
    raw: ModuleType, isa: str, layout: str, call: dict[str, object], sizes: tuple[int, int, int]
) -> None:
    problem = raw.Problem("across", layout, *sizes, models=3, **call)
    values = raw.drawn(problem)
    stack = raw.run(problem, values)
    for k in range(3):
        alone = values.model(k)
        alone.sample_weight = values.sample_weight
        solo = raw.run(replace(problem, models=1), alone)
        for name in ("y", "dx", "dresidual"):
            if getattr(solo, name) is not None:
                assert torch.equal(getattr(stack, name)[k], getattr(solo, name)[0]), name
        for name in ("dweight", "dbias", "running_mean", "running_var"):
            assert torch.equal(getattr(stack, name).chunk(3)[k], getattr(solo, name)), name
    assert stack.batches.item() == int(problem.training)
