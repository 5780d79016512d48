from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.bench.case import Case
from normwise.bench.models import NETWORKS, copy_state, eager_cnn, eager_mlp, fused_cnn, fused_mlp
from normwise.bench.ops import OPS
from normwise.bench.saved import saved_bytes
from normwise.bench.workload import workload

_SHAPES = {1: (24,), 2: (6, 64), 3: (3, 8, 5), 4: (3, 8, 5, 4), 5: (2, 8, 3, 2, 2)}


def _cases() -> list[Case]:
    # In float64: groups of one or two elements turn float32's rounding into visible differences.
    cases = []
    for op in OPS.values():
        for axes in op.axes:
            shape = _SHAPES[axes] if op.inputs else (2, 4, 3)
            cases.append(Case(op.name, shape, dtype="float64"))
            if axes >= 4:
                cases.append(Case(op.name, shape, "channels_last", "float64"))
    return cases


def _gradients(case: Case, side: str) -> list[Tensor]:
    work = workload(case)
    module = getattr(work, side)
    call = work.bind(module)
    torch.manual_seed(3)
    call()
    torch.manual_seed(3)
    call()  # gradients are those of one call, however many there were
    leaves = [*work.inputs, *module.parameters()]
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


# Dropout draws differently on the two sides, if normwise has kernels of its own.
@pytest.mark.parametrize("case", [c for c in _cases() if "dropout" not in c.op], ids=lambda case: case.name)
def test_both_sides_compute_the_same(case: Case) -> None:
    ours, eager = _gradients(case, "ours"), _gradients(case, "eager")
    assert len(ours) == len(eager) > 0
    for mine, theirs in zip(ours, eager, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("op", [name for name in OPS if "dropout" in name])
def test_dropout_drops_on_both_sides(op: str) -> None:
    for side in ("ours", "eager"):
        gradient = _gradients(Case(op, (64, 32)), side)[0]
        assert gradient.isfinite().all()
        work = workload(Case(op, (64, 32)))
        assert 0.3 < (work.forward(getattr(work, side)) == 0).float().mean() < 0.9


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_input_and_cotangent_lie_as_the_layout_says(layout: str) -> None:
    work = workload(Case("batch_norm", (2, 3, 4, 5), layout))  # type: ignore[arg-type]
    assert work.cotangent is not None
    for tensor in (*work.inputs, work.cotangent):
        assert tensor.is_contiguous(memory_format=work_format(layout))
    assert work.inputs[0].requires_grad


def work_format(layout: str) -> torch.memory_format:
    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


@pytest.mark.parametrize(
    ("case", "tensors", "held"),
    [
        (Case("batch_norm", (8, 4)), 5, 4),
        (Case("batch_norm_add_relu", (8, 4)), 7, 5),
        (Case("dropout", (8, 4)), 4, 4),
        (Case("l2_penalty", (2, 4, 4)), 3, 2),
        (Case("batch_norm", (8, 4), mode="evaluation"), 2, 2),
        (Case("batch_norm_add_relu", (8, 4), mode="evaluation"), 3, 3),
    ],
)
def test_the_limit_counts_every_tensor_once(case: Case, tensors: int, held: int) -> None:
    work = workload(case)
    assert (work.moved, work.working_set) == (tensors * case.bytes, held * case.bytes)


def test_evaluation_leaves_running_statistics_and_gradients_alone() -> None:
    work = workload(Case("batch_norm", (8, 4), mode="evaluation"))
    work.bind(work.ours)()
    assert not work.ours.training
    assert torch.equal(work.ours.get_buffer("running_mean"), torch.zeros(4))
    assert all(parameter.grad is None for parameter in work.ours.parameters())


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_fused_perceptron_is_the_eager_one(dropout: float) -> None:
    eager, ours = eager_mlp((12, 8, 8, 10), dropout).double(), fused_mlp((12, 8, 8, 10), dropout).double()
    copy_state(eager, ours)
    x = torch.randn(16, 12, dtype=torch.float64)
    if not dropout:
        torch.testing.assert_close(ours(x), eager(x), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.eval()(x), eager.eval()(x), rtol=1e-10, atol=1e-12)


def test_the_fused_convolutional_network_is_the_eager_one() -> None:
    eager, ours = eager_cnn((4, 8)).double(), fused_cnn((4, 8)).double()
    copy_state(eager, ours)
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), eager(x), rtol=1e-10, atol=1e-12)


def test_a_training_step_moves_both_sides_alike() -> None:
    network = NETWORKS["mlp_tiny"]
    work = workload(Case(network.name, network.shape, mode="step"))
    before = [parameter.detach().clone() for parameter in work.eager.parameters()]
    for module in (work.ours, work.eager):
        work.bind(module)()
    after = list(work.eager.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for mine, theirs in zip(work.ours.parameters(), after, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_building_a_case_draws_nothing_from_the_callers_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    workload(Case("dropout", (8, 4)))
    assert torch.equal(torch.rand(3), expected)


def test_torch_saves_three_inputs_for_norm_relu_dropout() -> None:
    case = Case("batch_norm_relu_dropout", (64, 128))
    work = workload(case)
    found = saved_bytes(lambda: work.forward(work.eager), [*work.eager.parameters(), *work.eager.buffers()])
    # Mean and variance of each channel come on top.
    assert 3 * case.bytes <= found <= 3 * case.bytes + 4 * 128 * 4


def test_a_storage_that_two_operations_keep_counts_once_and_a_parameter_never() -> None:
    x, weight = torch.ones(100, requires_grad=True), torch.ones(100, requires_grad=True)
    assert saved_bytes(lambda: x * weight, []) == 800
    assert saved_bytes(lambda: x * weight, [weight]) == 400
    assert saved_bytes(lambda: (x * x).sum(), []) == 400
    assert saved_bytes(lambda: x + 1, []) == 0


def test_what_a_node_holds_by_itself_counts_too() -> None:
    work = workload(Case("l2_penalty", (2, 30, 10)))
    parameters = list(work.ours.parameters())
    assert saved_bytes(lambda: work.forward(work.ours), parameters) == 2 * 30 * 10 * 4
    assert saved_bytes(lambda: work.forward(work.ours).sin(), []) == 2 * 2 * 30 * 10 * 4 + 4


def test_of_a_step_what_is_left_without_the_layers_is_timed_too() -> None:
    work = workload(Case("mlp_tiny_dropout", (128, 64), mode="step"))
    assert work.bare is not None
    assert {type(module) for module in work.bare.modules()} == {nn.Sequential, nw.Linear, nn.Identity}
    work.bind(work.bare)()
    assert workload(Case("mlp_tiny_dropout", (128, 64), mode="evaluation")).bare is None
