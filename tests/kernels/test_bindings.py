"""What autograd may do with a call, under the portable and the native binding alike."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import normwise as nw
from normwise import functional

Op = Callable[..., Tensor]

OPS: dict[str, Op] = {
    "batch_norm": lambda x, w, b, **k: functional.batch_norm(x, None, None, w, b, True, **k),
    "group_norm": lambda x, w, b, **k: functional.group_norm(x, 2, w, b, **k),
    "layer_norm": lambda x, w, b, **k: functional.layer_norm_over_channels(x, w, b, **k),
    "rms_norm": lambda x, w, b, **k: functional.rms_norm_over_channels(x, w, **k),
}


@pytest.fixture(autouse=True)
def by_name(binding: str) -> Any:
    with nw.use_backend(binding):
        yield


@pytest.fixture(params=["channels_first", "channels_last"])
def inputs(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, weight, bias, residual; float64, with gradients."""
    torch.manual_seed(0)
    form = torch.channels_last if request.param == "channels_last" else torch.contiguous_format
    x, residual = (torch.randn(3, 4, 3, 2, dtype=torch.float64).to(memory_format=form) for _ in range(2))
    weight, bias = torch.rand(4, dtype=torch.float64) + 0.5, torch.randn(4, dtype=torch.float64)
    return tuple(t.requires_grad_() for t in (x, weight, bias, residual))  # type: ignore[return-value]


def seeded(op: Op, x: Tensor, *others: Tensor, **options: Any) -> Tensor:
    return op(x, *others, generator=torch.Generator().manual_seed(1), **options)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("activation", ["none", "gelu", "silu", "tanh"])
def test_derivatives_of_derivatives(inputs: tuple[Tensor, ...], name: str, activation: str) -> None:
    x, weight, bias, residual = inputs

    def call(x: Tensor, w: Tensor, b: Tensor, r: Tensor) -> Tensor:
        return seeded(OPS[name], x, w, b, residual=r, activation=activation, dropout=0.3)

    bias = bias if name != "rms_norm" else bias.detach()  # it has none
    assert torch.autograd.gradcheck(call, (x, weight, bias, residual))
    assert torch.autograd.gradgradcheck(call, (x, weight, bias, residual))


@pytest.mark.parametrize("residual", [False, True])
def test_derivatives_through_a_relu(inputs: tuple[Tensor, ...], residual: bool) -> None:
    x, weight, bias, other = inputs
    for op in OPS.values():

        def call(x: Tensor, w: Tensor, r: Tensor, op: Op = op) -> Tensor:
            return seeded(op, x, w, bias, residual=r if residual else None, activation="relu", dropout=0.3)

        assert torch.autograd.gradgradcheck(call, (x, weight, other if residual else other.detach()))


def test_derivatives_by_running_statistics_and_weights(inputs: tuple[Tensor, ...]) -> None:
    x, weight, bias, _ = inputs
    mean, var = torch.randn(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64) + 0.5
    part = torch.tensor([1.0, 0.0, 2.0])

    def evaluated(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, var, w, b, False, activation="tanh")

    def weighted(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return functional.batch_norm(x, None, None, w, b, True, sample_weight=part, activation="tanh")

    for call in (evaluated, weighted):
        assert torch.autograd.gradcheck(call, (x, weight, bias))
        assert torch.autograd.gradgradcheck(call, (x, weight, bias))


def test_derivatives_of_dropout(inputs: tuple[Tensor, ...]) -> None:
    def call(x: Tensor) -> Tensor:
        return functional.dropout(x, 0.4, generator=torch.Generator().manual_seed(1)).pow(2)

    assert torch.autograd.gradcheck(call, inputs[:1])
    assert torch.autograd.gradgradcheck(call, inputs[:1])


def test_gradients_in_a_batch_are_those_one_by_one(inputs: tuple[Tensor, ...]) -> None:
    x, weight, bias, residual = inputs
    y = seeded(OPS["batch_norm"], x, weight, bias, residual=residual, activation="relu", dropout=0.3)
    z = functional.dropout(y, 0.3)
    several = torch.randn(3, *z.shape, dtype=z.dtype)
    batch = torch.autograd.grad(z, inputs, several, retain_graph=True, is_grads_batched=True)
    for i in range(3):
        one = torch.autograd.grad(z, inputs, several[i], retain_graph=True)
        for a, b in zip(batch, one, strict=True):
            torch.testing.assert_close(a[i], b)


def test_saved_tensors_go_through_hooks(inputs: tuple[Tensor, ...]) -> None:
    x, weight, bias, residual = inputs
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        kept.append(tensor.detach().clone())
        return len(kept) - 1

    def gradients(hooked: bool) -> tuple[Tensor, ...]:
        if not hooked:
            y = seeded(OPS["batch_norm"], x, weight, bias, residual=residual, activation="gelu", dropout=0.3)
        else:
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda i: kept[i]):
                y = seeded(
                    OPS["batch_norm"], x, weight, bias, residual=residual, activation="gelu", dropout=0.3
                )
        return torch.autograd.grad(y.square().sum(), inputs)

    expected, found = gradients(False), gradients(True)
    # The input, the residual, and one buffer with statistics and keep bits.
    assert sorted(t.numel() for t in kept if t.is_floating_point()) == [x.numel(), x.numel()]
    assert len(kept) == 3
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_draws_the_same_mask(inputs: tuple[Tensor, ...], reentrant: bool) -> None:
    def block(x: Tensor, w: Tensor, b: Tensor, r: Tensor) -> Tensor:
        y = functional.batch_norm(x, None, None, w, b, True, residual=r, activation="relu", dropout=0.4)
        return functional.dropout(y, 0.3).square().sum()

    found = []
    for call in (block, lambda *ins: checkpoint(block, *ins, use_reentrant=reentrant)):
        torch.manual_seed(3)
        leaves = [t.detach().requires_grad_() for t in inputs]
        call(*leaves).backward()
        found.append([t.grad for t in leaves])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_graph_is_walked_twice_only_if_it_is_retained(inputs: tuple[Tensor, ...]) -> None:
    y = seeded(OPS["batch_norm"], *inputs[:3], activation="relu", dropout=0.3)
    dy = torch.randn_like(y)
    first = torch.autograd.grad(y, inputs[:3], dy, retain_graph=True)
    again = torch.autograd.grad(y, inputs[:3], dy)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(y, inputs[:3], dy)


def test_an_input_that_was_written_over_is_noticed(inputs: tuple[Tensor, ...]) -> None:
    x, weight, bias, residual = inputs
    for which in (0, 1):
        ins = [x * 1, residual * 1]
        y = OPS["batch_norm"](ins[0], weight, bias, residual=ins[1], activation="gelu")
        ins[which].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_a_weight_that_was_written_over_matters_to_second_derivatives_alone(
    inputs: tuple[Tensor, ...],
) -> None:
    x, weight, bias, _ = inputs
    y = OPS["batch_norm"](x, weight, bias, activation="tanh")
    dy = torch.randn_like(y)
    expected = torch.autograd.grad(y, x, dy, retain_graph=True)[0]
    with torch.no_grad():
        weight.mul_(2)
    assert torch.equal(torch.autograd.grad(y, x, dy, retain_graph=True)[0], expected)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(y, x, dy, create_graph=True)


@pytest.mark.parametrize("which", range(4))
def test_only_what_is_asked_for_has_a_gradient(inputs: tuple[Tensor, ...], which: int) -> None:
    dy = torch.randn_like(inputs[0])

    def call(x: Tensor, w: Tensor, b: Tensor, r: Tensor) -> Tensor:
        return seeded(OPS["batch_norm"], x, w, b, residual=r, activation="relu", dropout=0.3)

    every = torch.autograd.grad(call(*inputs), inputs, dy)
    alone = [t.detach().requires_grad_(i == which) for i, t in enumerate(inputs)]
    call(*alone).backward(dy)
    for i, tensor in enumerate(alone):
        assert (tensor.grad is not None) == (i == which)
    torch.testing.assert_close(alone[which].grad, every[which])


class _Swallow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *dy: Tensor) -> None:
        return None


def test_no_gradient_gives_none(inputs: tuple[Tensor, ...]) -> None:
    for op in (lambda x: OPS["batch_norm"](x, None, None), lambda x: functional.dropout(x, 0.5)):
        found = torch.autograd.grad(_Swallow.apply(op(inputs[0])).sum(), inputs[0], allow_unused=True)
        assert found == (None,)


@pytest.mark.parametrize("lying", ["expanded", "transposed", "negated", "zero"])
def test_a_gradient_may_lie_anyhow(inputs: tuple[Tensor, ...], lying: str) -> None:
    x, weight, bias, residual = inputs
    dy = torch.randn(3, 4, 3, 2, dtype=torch.float64)
    given = {
        "expanded": lambda: dy[:1, :, :1, :1].expand_as(dy),
        "transposed": lambda: dy.transpose(0, 3).contiguous().transpose(0, 3),
        "negated": lambda: torch.complex(dy, dy).conj().imag,
        "zero": lambda: torch._efficientzerotensor(dy.shape, dtype=dy.dtype),
    }[lying]()
    for activation in ("relu", "gelu"):
        y = seeded(OPS["batch_norm"], x, weight, bias, residual=residual, activation=activation, dropout=0.3)
        z = functional.dropout(y, 0.3)
        found = torch.autograd.grad(z, inputs, given, retain_graph=True)
        expected = torch.autograd.grad(z, inputs, torch.empty_like(z).copy_(given))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)


def test_without_gradients_and_in_inference_mode() -> None:
    layer = nw.BatchNormAct1d(4, activation="relu", dropout=0.2)
    x = torch.randn(8, 4, requires_grad=True)
    with torch.no_grad():
        assert not layer(x).requires_grad
    with torch.inference_mode():
        y = layer(x)
        assert y.is_inference()
        layer.eval()(y)
    assert layer.num_batches_tracked.item() == 2
    assert layer.running_mean._version == 2
    made_inside = None
    with torch.inference_mode():
        made_inside = nw.BatchNorm1d(4)
        made_inside(x)
    assert made_inside.num_batches_tracked.item() == 1


def test_an_inference_tensor_cannot_be_saved(inputs: tuple[Tensor, ...]) -> None:
    with torch.inference_mode():
        x = torch.randn(3, 4, 3, 2, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        OPS["batch_norm"](x, *inputs[1:3])


def test_dropout_in_place() -> None:
    x = torch.ones(64, requires_grad=True)
    y = x * 1
    version = y._version
    z = functional.dropout(y, 0.5, inplace=True)
    assert z is y
    assert y._version == version + 1
    z.sum().backward()
    assert torch.equal(x.grad, z.detach())
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        functional.dropout(x, 0.5, inplace=True)


def test_threads_do_not_disturb_each_other(binding: str) -> None:
    torch.manual_seed(0)
    data = [torch.randn(64, 512) for _ in range(2)]

    def work(x: Tensor, found: list[Tensor]) -> None:
        with nw.use_backend(binding):
            for _ in range(20):
                leaf = x.clone().requires_grad_()
                y = functional.batch_norm(leaf, None, None, training=True, activation="relu")
                (y * y).sum().backward()
                found.append(leaf.grad)

    alone: list[list[Tensor]] = [[], []]
    together: list[list[Tensor]] = [[], []]
    for i in range(2):
        work(data[i], alone[i])
    threads = [threading.Thread(target=work, args=(data[i], together[i])) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        assert len(together[i]) == 20
        assert all(torch.equal(a, b) for a, b in zip(alone[i], together[i], strict=True))


# Newer Pythons warn of every fork beside threads; that the child lives is what is tested.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_computes() -> None:
    def work() -> bytes:
        x = torch.arange(2048.0).reshape(32, 64).requires_grad_()
        functional.batch_norm(x, None, None, training=True, activation="gelu").square().sum().backward()
        return x.grad.numpy().tobytes()

    expected = work()
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(send, work())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        found = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert found == expected
