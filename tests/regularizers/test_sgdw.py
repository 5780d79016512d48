"""SGDW against the formula in numpy, AdamW's convention, and all of SGD's options."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normwise.regularizers import SGDW, parameter_groups

LR, DECAY = 0.1, 0.5
OPTIONS = [
    {"momentum": m, "dampening": d, "nesterov": n, "maximize": x}
    for m, d, n, x in itertools.product((0.0, 0.9), (0.0, 0.3), (False, True), (False, True))
    if not (n and (m == 0 or d))
]
MODES = [{"foreach": False}, {"foreach": True}, {"fused": True}, {"differentiable": True}, {}]


def start() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in ((3, 4), (5,))
    ]


def gradients(step: int) -> list[np.ndarray]:
    random = np.random.default_rng(step)
    return [random.normal(size=(3, 4)), random.normal(size=5)]


def by_formula(
    steps: int, momentum: float, dampening: float, nesterov: bool, maximize: bool
) -> list[np.ndarray]:
    weights = [w.detach().numpy().copy() for w in start()]
    buffers: list[np.ndarray | None] = [None, None]
    for step in range(steps):
        for i, gradient in enumerate(gradients(step)):
            g = -gradient if maximize else gradient
            if momentum:
                last = buffers[i]
                buffers[i] = g if last is None else momentum * last + (1 - dampening) * g
                g = g + momentum * buffers[i] if nesterov else buffers[i]
            weights[i] = (1 - LR * DECAY) * weights[i] - LR * g
    return weights


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(map(str, o.values())))
def test_steps_follow_the_formula(options: dict[str, object], mode: dict[str, bool]) -> None:
    leaves = start()
    # A differentiable step writes into its parameters with gradients on, which leaves do not allow.
    weights = [w.clone() for w in leaves] if "differentiable" in mode else leaves
    for w in weights:
        if not w.is_leaf:
            w.retain_grad()
    optimizer = SGDW(leaves, lr=LR, weight_decay=DECAY, **options, **mode)
    optimizer.param_groups[0]["params"] = weights
    for step in range(3):
        for w, g in zip(weights, gradients(step), strict=True):
            w.grad = torch.from_numpy(g)
        optimizer.step()
    for w, expected in zip(weights, by_formula(3, **options), strict=True):
        np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-12)


def test_decay_is_that_of_adamw() -> None:
    ours, theirs = start(), start()
    for optimizer, weights in (
        (SGDW(ours, lr=LR, weight_decay=DECAY), ours),
        (torch.optim.AdamW(theirs, lr=LR, weight_decay=DECAY), theirs),
    ):
        weights[0].grad = torch.zeros_like(weights[0])  # the other has none
        optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
    assert torch.equal(ours[1], start()[1])


def test_with_momentum_it_is_not_sgd_and_without_it_is() -> None:
    for momentum in (0.0, 0.9):
        ends = []
        for kind in (SGDW, torch.optim.SGD):
            weights = start()
            optimizer = kind(weights, lr=LR, weight_decay=DECAY, momentum=momentum)
            for step in range(3):
                for w, g in zip(weights, gradients(step), strict=True):
                    w.grad = torch.from_numpy(g)
                optimizer.step()
            ends.append(weights[0].detach().numpy())
        assert np.allclose(*ends, rtol=1e-12) is (momentum == 0)


def test_groups_and_schedules() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = SGDW(parameter_groups(model, DECAY), lr=LR)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    for _ in range(2):
        optimizer.step()
        schedule.step()
    for name, p in model.named_parameters():
        factor = (1 - LR * DECAY) * (1 - LR / 2 * DECAY) if name == "0.weight" else 1.0
        torch.testing.assert_close(p.detach(), factor * before[name])


@pytest.mark.parametrize("mode", [m for m in MODES if "differentiable" not in m], ids=str)
def test_learning_rate_as_a_tensor(mode: dict[str, bool]) -> None:
    weights = start()
    optimizer = SGDW(weights, lr=torch.tensor(LR), weight_decay=DECAY, **mode)
    for w, g in zip(weights, gradients(0), strict=True):
        w.grad = torch.from_numpy(g)
    optimizer.step()
    expected = by_formula(1, 0.0, 0.0, False, False)[0]
    np.testing.assert_allclose(weights[0].detach().numpy(), expected, rtol=1e-6)  # the rate is in float32


def test_state_is_that_of_sgd_and_goes_on_where_it_was() -> None:
    def run(optimizer: torch.optim.Optimizer, weights: list[Tensor], steps: range) -> None:
        for step in steps:
            for w, g in zip(weights, gradients(step), strict=True):
                w.grad = torch.from_numpy(g)
            optimizer.step()

    whole = start()
    run(SGDW(whole, lr=LR, weight_decay=DECAY, momentum=0.9), whole, range(4))
    first = start()
    before = SGDW(first, lr=LR, weight_decay=DECAY, momentum=0.9)
    run(before, first, range(2))
    second = [w.detach().clone().requires_grad_() for w in first]
    after = SGDW(second, lr=1.0)
    after.load_state_dict(before.state_dict())
    run(after, second, range(2, 4))
    assert torch.equal(second[0], whole[0])
    torch.optim.SGD(second, lr=1.0).load_state_dict(before.state_dict())
    twin = pickle.loads(pickle.dumps(before))
    assert twin.param_groups[0]["weight_decay"] == DECAY
    assert copy.deepcopy(before).state_dict()["state"].keys() == before.state_dict()["state"].keys()


def test_hooks_and_closures_run_once() -> None:
    torch.optim.SGD(start(), lr=LR).step()  # torch wraps a class's `step` when one is made
    weights, calls = start(), []
    optimizer = SGDW(weights, lr=LR)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure() -> Tensor:
        calls.append("loss")
        optimizer.zero_grad()
        loss = weights[0].square().sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert calls == ["before", "loss", "after"]
    torch.testing.assert_close(loss.detach(), start()[0].detach().square().sum())
    torch.testing.assert_close(weights[0].detach(), (1 - LR * 0.01 - 2 * LR) * start()[0].detach())


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_skips_decay_and_step_after_an_overflow(fused: bool) -> None:
    for overflow in (True, False):
        weight = torch.ones(3, requires_grad=True)
        optimizer = SGDW([weight], lr=LR, weight_decay=DECAY, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        scale = float("inf") if overflow else 1.0
        scaler.scale((weight * scale).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        expected = 1.0 if overflow else 1 - LR * DECAY - LR
        torch.testing.assert_close(weight.detach(), torch.full((3,), expected))


def test_torch_checks_the_arguments() -> None:
    with pytest.raises(ValueError, match="Invalid weight_decay value"):
        SGDW(start(), weight_decay=-0.1)
    with pytest.raises(ValueError, match="Nesterov momentum requires"):
        SGDW(start(), nesterov=True)
