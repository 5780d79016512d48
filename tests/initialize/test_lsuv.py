"""LSUV: unit variance behind every layer, and a model that is otherwise as before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from normwise.errors import ArgumentError
from normwise.initialize import initialize_

BATCH = 3 * torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(5)) + 1
WEIGHTED = (nn.Linear, nn.Conv2d)


def network(norm: str = "none") -> nn.Sequential:
    first: nn.Module = nn.Conv2d(1, 6, 3)
    second: nn.Module = nn.Conv2d(6, 4, 3)
    if norm == "weight":
        first, second = weight_norm(first), weight_norm(second)
    between = [nn.BatchNorm2d(6)] if norm == "batch" else []
    return nn.Sequential(
        first, *between, nn.Tanh(), nn.Dropout(0.5), second, nn.ReLU(), nn.Flatten(), nn.Linear(64, 9)
    )


def variances(model: nn.Module, batch: Tensor) -> list[float]:
    seen: list[float] = []
    hooks = [
        m.register_forward_hook(lambda m, i, o: seen.append(o.double().var(correction=0).item()))
        for m in model.modules()
        if isinstance(m, WEIGHTED)
    ]
    model.train()
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.eval()
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
def test_every_output_has_unit_variance(norm: str) -> None:
    model = network(norm)
    initialize_(model, "lsuv", seed=0, batch=BATCH)
    assert len(variances(model, BATCH)) == 3
    assert all(abs(v - 1) < 0.1 for v in variances(model, BATCH))


def test_weights_are_orthonormal_up_to_a_factor_and_scale_multiplies_at_the_end() -> None:
    plain, scaled = network(), network()
    initialize_(plain, "lsuv", seed=0, batch=BATCH)
    initialize_(scaled, "lsuv", seed=0, batch=BATCH, scale=0.25)
    for a, b in zip(plain.modules(), scaled.modules(), strict=True):
        if isinstance(a, WEIGHTED):
            torch.testing.assert_close(b.weight, 0.25 * a.weight)
            rows = a.weight.detach().flatten(1)
            gram = rows @ rows.T
            torch.testing.assert_close(gram / gram[0, 0], torch.eye(len(gram)), atol=1e-5, rtol=0)


def test_modes_buffers_and_hooks_are_as_before() -> None:
    model = network("batch")
    model.eval()
    model[3].train()
    modes = [m.training for m in model.modules()]
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    identities = {n: id(b) for n, b in model.named_buffers()}
    initialize_(model, "lsuv", seed=0, batch=BATCH)
    assert [m.training for m in model.modules()] == modes
    assert {n: id(b) for n, b in model.named_buffers()} == identities
    assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers())
    assert not any(m._forward_hooks for m in model.modules())


def test_a_layer_called_twice_settles_or_stops_and_one_not_reached_stays_orthonormal() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Linear(6, 6)
            self.spare = nn.Linear(6, 6)
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.shared(torch.tanh(self.shared(x)))

    model = Twice()
    initialize_(model, "lsuv", seed=0, batch=BATCH[:, 0, 0, :6])
    assert 1 < model.calls <= 10
    spare = model.spare.weight.detach()
    torch.testing.assert_close(spare @ spare.T, torch.eye(6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_an_output_that_does_not_vary_is_explained(value: float) -> None:
    model = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    model.eval()
    with pytest.raises(ArgumentError, match="needs every layer's output to vary over `batch`; '0' does not"):
        initialize_(model, "lsuv", seed=0, batch=torch.full((4, 2), value))
    assert not model.training
    assert not any(m._forward_hooks for m in model.modules())
