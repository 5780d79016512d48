"""Label smoothing and the confidence penalty against their formulas in numpy."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, UnknownNameError
from normwise.regularizers import ConfidencePenalty, LabelSmoothing

EPS = 0.2


def logits(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(*(shape or (6, 4)), dtype=torch.float64, generator=generator)


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def by_formula(x: Tensor, target: np.ndarray, keep: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The sum and the divisor of the mean; targets as probabilities (N, K), kept rows, class weights."""
    smoothed = (1 - EPS) * target + EPS / target.shape[1]
    losses = -(smoothed * weight * log_softmax(x.numpy())).sum(1)
    return float(losses[keep].sum()), float((target * weight).sum(1)[keep].sum())


@pytest.mark.parametrize("weighted", [False, True])
def test_class_indices_with_ignored_ones(weighted: bool) -> None:
    x, target = logits().requires_grad_(), torch.tensor([0, 3, -1, 2, 1, -1])
    weight = torch.tensor([0.5, 2.0, 0.0, 1.5], dtype=torch.float64) if weighted else None
    factors = np.ones(4) if weight is None else weight.numpy()
    keep = target.numpy() != -1
    total, count = by_formula(x.detach(), np.eye(4)[target.numpy()], keep, factors)
    for reduction, expected in (("mean", total / count), ("sum", total)):
        loss = LabelSmoothing(EPS, weight=weight, ignore_index=-1, reduction=reduction)
        np.testing.assert_allclose(loss(x, target).item(), expected, rtol=1e-12)
    torch_loss = nn.CrossEntropyLoss(weight, ignore_index=-1, label_smoothing=EPS)(x, target)
    (ours,) = torch.autograd.grad(-1.7 * LabelSmoothing(EPS, weight=weight, ignore_index=-1)(x, target), x)
    (theirs,) = torch.autograd.grad(-1.7 * torch_loss, x)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 5)])
def test_probabilities(shape: tuple[int, ...]) -> None:
    x, target = logits(*shape), torch.softmax(logits(*shape).flip(0), 1)
    flat = [t.movedim(1, -1).reshape(-1, 4) for t in (x, target)]
    rows = len(flat[0])
    total, _ = by_formula(flat[0], flat[1].numpy(), np.ones(rows, bool), np.ones(4))
    np.testing.assert_allclose(LabelSmoothing(EPS)(x, target).item(), total / rows, rtol=1e-12)
    torch.testing.assert_close(
        LabelSmoothing(EPS)(x, target), nn.CrossEntropyLoss(label_smoothing=EPS)(x, target)
    )


@pytest.mark.parametrize("weight", [None, torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64)])
@pytest.mark.parametrize("target", [torch.full((6,), -100), torch.zeros(0, dtype=torch.long)])
def test_nothing_to_average_costs_nothing(weight: Tensor | None, target: Tensor) -> None:
    x = logits()[: len(target)].requires_grad_()
    loss = LabelSmoothing(EPS, weight=weight)(x, target)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.count_nonzero(x.grad) == 0


def test_a_single_sample_without_a_batch_and_none_reduction() -> None:
    x, target = logits(4), torch.tensor(2)
    torch.testing.assert_close(
        LabelSmoothing(EPS)(x, target), nn.CrossEntropyLoss(label_smoothing=EPS)(x, target)
    )
    soft = torch.softmax(x, 0)
    torch.testing.assert_close(
        LabelSmoothing(EPS)(x, soft), nn.CrossEntropyLoss(label_smoothing=EPS)(x, soft)
    )
    assert LabelSmoothing(EPS, reduction="none")(logits(), torch.arange(6) % 4).shape == (6,)


def entropy(x: Tensor) -> np.ndarray:
    p = np.exp(log_softmax(x.numpy()))
    return -(p * log_softmax(x.numpy())).sum(1)


def test_confidence_is_minus_entropy() -> None:
    x = logits().requires_grad_()
    expected = -0.7 * entropy(x.detach())
    np.testing.assert_allclose(
        ConfidencePenalty(0.7, reduction="none")(x).detach().numpy(), expected, rtol=1e-12
    )
    np.testing.assert_allclose(ConfidencePenalty(0.7)(x).item(), expected.mean(), rtol=1e-12)
    np.testing.assert_allclose(ConfidencePenalty(0.7, reduction="sum")(x).item(), expected.sum(), rtol=1e-12)
    assert torch.autograd.gradcheck(ConfidencePenalty(0.7, reduction="none"), (x,))
    assert torch.autograd.gradgradcheck(ConfidencePenalty(0.7, reduction="none"), (x,))


def test_confidence_over_positions_is_over_the_second_axis() -> None:
    x = logits(2, 4, 3)
    rows = x.movedim(1, -1).reshape(-1, 4)
    torch.testing.assert_close(ConfidencePenalty(1.0)(x), ConfidencePenalty(1.0)(rows))
    torch.testing.assert_close(ConfidencePenalty(1.0)(rows[0]), ConfidencePenalty(1.0)(rows[:1]))


def test_sure_and_masked_classes_have_finite_values_and_gradients() -> None:
    x = torch.tensor([[0.0, -math.inf, 0.0], [1e4, 0.0, -1e4]], requires_grad=True)
    terms = ConfidencePenalty(1.0, reduction="none")(x)
    torch.testing.assert_close(terms, torch.tensor([-math.log(2), 0.0]))
    terms.backward(torch.tensor([1.0, -2.0]))
    assert torch.isfinite(x.grad).all()


def test_sixteen_bit_logits_give_float32_and_an_empty_batch_nothing() -> None:
    x = logits().half().requires_grad_()
    value = ConfidencePenalty(1.0)(x)
    assert value.dtype is torch.float32
    value.backward()
    assert x.grad.dtype is torch.float16
    empty = torch.zeros(0, 3, requires_grad=True)
    nothing = ConfidencePenalty(1.0)(empty)
    nothing.backward()
    assert nothing.item() == 0.0


def test_losses_compile_copy_and_pickle() -> None:
    x, target = logits(), torch.arange(6) % 4
    for loss, args in ((LabelSmoothing(EPS), (x, target)), (ConfidencePenalty(0.5), (x,))):
        expected = loss(*args)
        for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            assert torch.equal(twin(*args), expected)
        compiled = torch.compile(loss, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*args), expected)
    assert repr(LabelSmoothing(EPS)) == "LabelSmoothing(smoothing=0.2)"
    assert repr(ConfidencePenalty(0.5)) == "ConfidencePenalty(strength=0.5, reduction='mean')"


def test_bad_input_is_explained() -> None:
    with pytest.raises(ArgumentError, match="LabelSmoothing: `smoothing` must lie between 0 and 1"):
        LabelSmoothing(1.5)
    with pytest.raises(ArgumentError, match="ConfidencePenalty: `strength` must be finite"):
        ConfidencePenalty(-0.5)
    with pytest.raises(UnknownNameError, match="unknown reduction 'avg'"):
        ConfidencePenalty(0.5, reduction="avg")
