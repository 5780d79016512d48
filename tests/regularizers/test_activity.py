"""Activity penalties: values, gradients, checkpointing, and what does not stay behind."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normwise.errors import ArgumentError
from normwise.regularizers import ActivityPenalty

L1, L2 = 0.3, 0.7


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh()).double()


def batch(n: int = 7) -> Tensor:
    return torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_formula(model: nn.Sequential, x: Tensor) -> float:
    """By numpy, from the weights."""
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    hidden = np.maximum(x.numpy() @ arrays["0.weight"].T + arrays["0.bias"], 0)
    out = np.tanh(hidden @ arrays["2.weight"].T + arrays["2.bias"])
    return sum((L1 * np.abs(a).sum() + L2 / 2 * (a**2).sum()) / len(x) for a in (hidden, out))


def test_value_follows_the_formula() -> None:
    model, penalty = network(), ActivityPenalty([nn.ReLU, nn.Tanh], l1=L1, l2=L2)
    with penalty.attach(model):
        model(batch())
        np.testing.assert_allclose(penalty().item(), by_formula(model, batch()), rtol=1e-12)


def test_gradients_reach_the_weights() -> None:
    model, penalty = network(), ActivityPenalty(["1", "3"], l1=L1, l2=L2)
    with penalty.attach(model):
        model(batch())
        (-1.3 * penalty()).backward()
    for name in ("0.weight", "2.bias"):
        parameter = dict(model.named_parameters())[name]
        index = (0,) * parameter.dim()
        step = 1e-6
        values = []
        for sign in (1, -1):
            nudged = copy.deepcopy(model)
            dict(nudged.named_parameters())[name].data[index] += sign * step
            values.append(by_formula(nudged, batch()))
        slope = -1.3 * (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(parameter.grad[index].item(), slope, rtol=1e-6, atol=1e-8)


def test_each_pass_stands_for_itself_and_is_taken_once() -> None:
    model, penalty = network(), ActivityPenalty([nn.Tanh], l2=1.0)
    with penalty.attach(model):
        model(batch())
        model(batch(3))
        torch.testing.assert_close(penalty(), model[3](model[:3](batch(3))).square().sum() / 6)
        penalty()  # of the slice above, which is not the model
        with pytest.raises(ArgumentError, match="a chosen module must have run since the last call"):
            penalty()


def test_a_module_that_runs_twice_counts_twice() -> None:
    activation = nn.ReLU()
    model, penalty = nn.Sequential(activation, activation), ActivityPenalty([nn.ReLU], l1=1.0)
    with penalty.attach(model):
        model(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        assert penalty().item() == 2 * 8 / 2


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.runs = network(), 0

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.body, x, use_reentrant=False)

    def body(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.inner(x)


def test_checkpointing_changes_neither_value_nor_gradient() -> None:
    plain, wrapped = network(), Checkpointed()
    gradients = []
    for model, inner in ((plain, plain), (wrapped, wrapped.inner)):
        penalty = ActivityPenalty([nn.ReLU, nn.Tanh], l1=L1, l2=L2)
        with penalty.attach(model):
            out = model(batch())
            value = penalty()
            (value + out.sum()).backward()
            np.testing.assert_allclose(value.item(), by_formula(inner, batch()), rtol=1e-12)
            with pytest.raises(ArgumentError, match="must have run"):
                penalty()  # the recomputation left nothing
        gradients.append(inner[0].weight.grad)
    assert wrapped.runs == 2
    torch.testing.assert_close(gradients[0], gradients[1])


def test_no_graph_outlives_a_step() -> None:
    model, penalty = network(), ActivityPenalty([nn.Tanh], l1=1.0)
    seen = []
    model[3].register_forward_hook(lambda module, args, output: seen.append(weakref.ref(output)))
    with penalty.attach(model):
        for _ in range(3):
            model(batch())
        penalty().backward()
        gc.collect()
        assert [reference() is None for reference in seen] == [True, True, True]
        model(batch())
    gc.collect()
    assert seen[-1]() is None


def test_hooks_go_with_detach() -> None:
    model, penalty = network(), ActivityPenalty([nn.ReLU, nn.Tanh], l1=1.0)
    assert penalty.attach(model) is penalty
    with pytest.raises(ArgumentError, match="must be detached before"):
        penalty.attach(model)
    penalty.detach()
    penalty.detach()
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    model(batch())
    with pytest.raises(ArgumentError, match="must have run"):
        penalty()
    with pytest.raises(ZeroDivisionError), penalty.attach(model):
        raise ZeroDivisionError
    assert not model._forward_pre_hooks


def test_copies_of_an_attached_model_are_apart() -> None:
    model, penalty = network(), ActivityPenalty([nn.Tanh], l1=1.0)
    with penalty.attach(model):
        model(batch())
        twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        file = io.BytesIO()
        torch.save(model, file)
        value = penalty()
        for twin in twins:
            twin(batch())
        with pytest.raises(ArgumentError, match="must have run"):
            penalty()
        assert list(twins[0].state_dict()) == list(model.state_dict())
    copied = copy.deepcopy(penalty)
    with copied.attach(model):
        model(batch())
        assert copied().item() == value.item()


def test_recurrent_layers_are_taken_by_their_first_output() -> None:
    model, penalty = nn.LSTM(3, 2, batch_first=True), ActivityPenalty([nn.LSTM], l1=1.0)
    with penalty.attach(model):
        out, _ = model(torch.randn(4, 5, 3))
        torch.testing.assert_close(penalty(), out.abs().sum() / 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_activations_are_summed_in_float32(dtype: torch.dtype) -> None:
    model, penalty = nn.Sequential(nn.Identity()), ActivityPenalty([nn.Identity], l2=2.0)
    x = torch.full((2, 100), 100.0, dtype=dtype, requires_grad=True)
    with penalty.attach(model):
        model(x)
        value = penalty()
    assert value.dtype is torch.float32
    assert value.item() == 1e6  # out of float16's range
    value.backward()
    assert x.grad.dtype is dtype


def test_empty_batch_costs_nothing() -> None:
    model, penalty = network(), ActivityPenalty([nn.Tanh], l1=1.0, l2=1.0)
    with penalty.attach(model):
        model(torch.zeros(0, 4, dtype=torch.float64))
        value = penalty()
    assert value.item() == 0.0
    value.backward()
    assert torch.count_nonzero(model[0].weight.grad) == 0


def test_bad_input_is_explained() -> None:
    for chosen in ([], "0", nn.ReLU, [3], [int]):
        with pytest.raises(ArgumentError, match="`modules` must be a non-empty sequence"):
            ActivityPenalty(chosen, l1=1.0)
    with pytest.raises(ArgumentError, match="`l1` must be finite and not negative"):
        ActivityPenalty([nn.ReLU], l1=-1.0)
    with pytest.raises(ArgumentError, match=r"must have the modules that are named\. Got no '9'"):
        ActivityPenalty(["9"]).attach(network())
    with pytest.raises(ArgumentError, match=r"must have a module of GELU\. Got a Sequential without one"):
        ActivityPenalty([nn.GELU]).attach(network())

    class Words(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"x": x}

    with (
        ActivityPenalty([Words]).attach(words := Words()),
        pytest.raises(ArgumentError, match="a dict of Words"),
    ):
        words(torch.ones(1))
