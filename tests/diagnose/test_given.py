"""Batches and data in the forms in which people have them."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import normwise as nw
from normwise.diagnose.given import as_batch, as_data
from normwise.errors import ArgumentError

X = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
Y = (X.sum(dim=1) > 0).long()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))


class Two(nn.Module):
    """Takes two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(16, 2)
        self.norm = nn.BatchNorm1d(16)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.head(self.norm(torch.cat([self.first(a), self.second(b)], dim=1)).relu())


class Named(Two):
    """Takes a dict."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(batch["a"], batch["b"])


@pytest.mark.parametrize(
    ("model", "inputs"),
    [(Two(), (X, X)), (Two(), {"a": X, "b": X}), (Named(), {"a": X, "b": X})],
)
def test_models_of_several_inputs_are_looked_at(model: nn.Module, inputs: Any) -> None:
    found = nw.diagnose(model, (inputs, Y))
    assert found.measured == ("structure", "initialization", "batch")
    assert found.notes == ()


def test_arrays_are_taken_in_the_precision_of_models() -> None:
    inputs, targets = as_batch((X.double().numpy(), Y.numpy().astype(np.int32)))
    assert targets is not None
    assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)
    assert nw.diagnose(network(), (X.double().numpy(), Y.numpy())).findings == ()


@pytest.mark.parametrize(
    ("given", "sizes", "batch"),
    [
        ((X, Y), (80, 20), None),
        ((X.numpy(), Y.numpy()), (80, 20), None),
        (((X[:70], Y[:70]), (X[70:], Y[70:])), (70, 30), None),
        (TensorDataset(X, Y), (80, 20), None),
        (DataLoader(TensorDataset(X, Y), 16), (80, 20), 16),
        ((DataLoader(TensorDataset(X, Y), 25), DataLoader(TensorDataset(X[:40], Y[:40]), 40)), (100, 40), 25),
    ],
)
def test_every_form_of_data_is_two_parts(given: Any, sizes: tuple[int, int], batch: int | None) -> None:
    data, size = as_data(given)
    assert (len(data.inputs), len(data.validation_inputs), size) == (*sizes, batch)
    assert (data.task, data.classes) == ("classification", 2)
    labels = (data.inputs.sum(dim=1) > 0).long()
    assert torch.equal(labels, data.targets)


def test_a_held_out_fifth_shares_no_row_with_the_rest() -> None:
    data, _ = as_data((torch.arange(50.0)[:, None], torch.arange(50.0)))
    assert data.task == "regression"
    assert sorted([*data.targets.tolist(), *data.validation_targets.tolist()]) == list(range(50))


def test_a_loader_is_read_without_moving_the_random_state() -> None:
    model = network()
    before = torch.get_rng_state()
    found = nw.diagnose(model, data=DataLoader(TensorDataset(X, Y), 16, shuffle=True), steps=20)
    assert torch.equal(torch.get_rng_state(), before)
    assert "training" in found.measured


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nw.diagnose(Two, (X, Y)), r"Got the class Two. hint: make one: Two\(\)"),
        (lambda: nw.diagnose("net.py", (X, Y)), "Got a str"),
        (lambda: nw.diagnose(network(), {"x": X}), "Got a dict"),
        (lambda: nw.diagnose(network(), DataLoader(TensorDataset(X, Y))), "give it as data="),
        (lambda: nw.diagnose(network(), (X, Y[:50])), "Expected input batch_size"),
        (lambda: nw.diagnose(Two(), (X, Y)), "missing 1 required positional argument"),
        (lambda: nw.diagnose(network(), data=(X[:8], Y[:8])), "at least 10 samples"),
        (lambda: nw.diagnose(Two(), data=((X, X), Y)), "inputs of several tensors"),
        (lambda: nw.diagnose(network(), data=(X, Y[:50])), "not as many"),
    ],
)
def test_what_cannot_be_taken_is_said(call: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        call()


def test_the_package_has_the_signature_of_its_function() -> None:
    assert list(inspect.signature(nw.diagnose).parameters)[:3] == ["model", "batch", "loss"]
