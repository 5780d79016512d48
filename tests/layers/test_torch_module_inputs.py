"""Torch's own table of module tests, run on our classes.

The table is read in a process of its own: importing torch's test utilities sets global flags.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from normwise import layers
from normwise.testing import assert_close, assert_no_worse

NAMES = [
    *(f"{family}{rank}d" for family in ("BatchNorm", "InstanceNorm") for rank in (1, 2, 3)),
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
]

READ_TABLE = """
import pickle, sys
import torch
from torch.testing._internal.common_modules import module_db

rows = []
for info in module_db:
    name = info.formatted_name.removeprefix("nn_")
    if name not in sys.argv[1].split(","):
        continue
    for training in (True, False):
        torch.manual_seed(0)
        for case in info.module_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=False, training=training
        ):
            make, call = case.constructor_input, case.forward_input
            rows.append((name, training, case.desc, make.args, make.kwargs, call.args, call.kwargs))
sys.stdout.buffer.write(pickle.dumps(rows))
"""

Row = tuple[str, bool, str, tuple[Any, ...], dict[str, Any], tuple[Any, ...], dict[str, Any]]


@pytest.fixture(scope="module")
def table() -> list[Row]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_TABLE, ",".join(NAMES)], check=True, capture_output=True
    )
    rows: list[Row] = pickle.loads(done.stdout)
    return rows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_torchs_table(table: list[Row], name: str, dtype: torch.dtype) -> None:
    rows = [row for row in table if row[0] == name]
    assert len(rows) >= 4
    for _, training, description, args, kwargs, call, call_kwargs in rows:
        ours = getattr(layers, name)(*args, **kwargs, dtype=dtype).train(training)
        theirs = getattr(nn, name)(*args, **kwargs, dtype=dtype).train(training)
        ours.load_state_dict(theirs.state_dict())
        inputs = [x.to(dtype).requires_grad_() for x in call]
        exact = copy.deepcopy(theirs).double()
        wide = [x.detach().double().requires_grad_() for x in inputs]
        mine, expected = ours(*inputs, **call_kwargs), theirs(*inputs, **call_kwargs)
        where = f"{name} {description} training={training}"
        assert_close(mine, expected, what=f"output of {where}")
        cotangent = torch.randn_like(expected)
        leaves = [
            [*given, *layer.parameters()]
            for given, layer in ((inputs, ours), (inputs, theirs), (wide, exact))
        ]
        for a, b, e in zip(
            torch.autograd.grad(mine, leaves[0], cotangent),
            torch.autograd.grad(expected, leaves[1], cotangent),
            torch.autograd.grad(exact(*wide, **call_kwargs), leaves[2], cotangent.double()),
            strict=True,
        ):
            assert_no_worse(a, b, e, what=f"gradient of {where}", scale=4.0)
        for key, b in theirs.named_buffers():
            assert_close(ours.get_buffer(key), b, what=f"buffer {key} of {where}")
