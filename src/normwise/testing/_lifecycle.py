"""Checks of a layer as an object: saved, loaded, copied, built without memory."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn

from normwise.testing._backends import runs
from normwise.testing._case import LayerCase, require, run
from normwise.testing.tolerance import assert_close


def state_dict(case: LayerCase) -> None:
    """Keys, shapes and dtypes are the twin's, in order; a state loads both ways, with the same outputs."""
    layer = case.layer(training=False)
    other = (case.make if case.twin is None else case.twin)().eval()
    ours = [(name, value.shape, value.dtype) for name, value in layer.state_dict().items()]
    theirs = [(name, value.shape, value.dtype) for name, value in other.state_dict().items()]
    require(ours == theirs, f"{ours} instead of {theirs}")
    other.load_state_dict(layer.state_dict(), strict=True)
    assert_close(run(other, case.input()), run(layer, case.input()), what="output after loading")
    back = case.make().eval()
    back.load_state_dict(other.state_dict(), strict=True)
    require(torch.equal(run(back, case.input()), run(layer, case.input())), "a round trip changes the output")


def deep_copy(case: LayerCase) -> None:
    """A deep copy gives the same output and shares no memory."""
    layer = case.layer()
    twin = copy.deepcopy(layer)
    _require_same(case, twin, layer)
    mine = {value.data_ptr() for value in layer.state_dict().values()}
    shared = [name for name, value in twin.state_dict().items() if value.data_ptr() in mine and value.numel()]
    require(not shared, f"the copy shares {shared}")


def pickled(case: LayerCase) -> None:
    """A layer survives pickling."""
    layer = case.layer()
    _require_same(case, pickle.loads(pickle.dumps(layer)), layer)


def meta(case: LayerCase) -> None:
    """On the meta device a layer gives shapes; materialised and loaded it gives values."""
    with torch.device("meta"):
        layer = case.make()
    with runs(case, "meta"):
        output = layer(case.input().to("meta"))
    require(output.device.type == "meta", f"output on {output.device}")
    require(case.changes_shape or output.shape == case.shape, f"output of shape {tuple(output.shape)}")
    # A counter has whatever was in memory, until it is loaded.
    layer.to_empty(device="cpu").load_state_dict(case.layer().state_dict())
    _require_same(case, layer, case.layer())


def _require_same(case: LayerCase, layer: nn.Module, expected: nn.Module) -> None:
    # By name: parametrized modules have a class each.
    ours, theirs = type(layer).__qualname__, type(expected).__qualname__
    require(ours == theirs, f"{ours} instead of {theirs}")
    require(repr(layer) == repr(expected), f"{layer!r} instead of {expected!r}")
    require(layer.training == expected.training, "the training flag is lost")
    require(torch.equal(run(layer, case.input()), run(expected, case.input())), "another output")
