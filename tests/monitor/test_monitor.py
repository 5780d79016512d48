"""What a monitor says of a step, held against the same numbers by hand; and that it changes nothing."""

import copy
import gc
import math
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import normwise as nw
from normwise.monitor import Monitor, StepRecord


def always(model: nn.Module, optimizer: Any, **options: Any) -> Monitor:
    """A monitor of every step."""
    return Monitor(model, optimizer, overhead=math.inf, every=1, **options)


def small_mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def small_cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 6, 3),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(6, 3),
    )


class Functional(nn.Module):
    """Activations as functions, a part called more than once, a part that is frozen, a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.shared, self.last = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.norm = nw.BatchNormAct1d(5, activation="relu", dropout=0.2)
        self.first.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x))
        x = checkpoint(lambda y: F.gelu(self.shared(y)), x, use_reentrant=False)
        return self.last(self.norm(self.shared(x)))


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2),
    "fused": lambda p: torch.optim.Adam(p, 1e-2, fused=True),
    "tensor": lambda p: torch.optim.Adam(p, torch.tensor(1e-2)),
}
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (small_mlp, (6,)),
    "cnn": (small_cnn, (3, 9, 9)),
    "functional": (Functional, (6,)),
    "ours": (lambda: nw.mlp((6,), 3, widths=(8, 8), norm="batch", dropout=0.3), (6,)),
    "weight_norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)), (6,)),
}


def train(
    build: Callable[[], nn.Module], shape: tuple[int, ...], optimizer: str, watched: bool
) -> dict[str, Any]:
    torch.manual_seed(1)
    model = build()
    chosen = OPTIMIZERS[optimizer]([p for p in model.parameters() if p.requires_grad])
    monitor = always(model, chosen, window=2)
    if watched:
        monitor.__enter__()
    losses = []
    for step in range(5):
        chosen.zero_grad()
        for _ in range(1 + step % 2):  # accumulation
            loss = F.cross_entropy(model(torch.randn(7, *shape)), torch.randint(3, (7,)))
            loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        chosen.step()
        losses.append(loss.item())
    if watched:
        monitor.__exit__(None, None, None)
        assert len(monitor.steps) == 5
    state = [value.clone() for value in chosen.state_dict()["state"].get(0, {}).values()]
    return {"state": list(model.state_dict().values()), "losses": losses, "random": torch.get_rng_state()} | {
        "optimizer": state
    }


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_not_a_bit_of_a_training_changes(name: str, optimizer: str) -> None:
    alone = train(*MODELS[name], optimizer, watched=False)
    watched = train(*MODELS[name], optimizer, watched=True)
    assert alone["losses"] == watched["losses"]
    assert torch.equal(alone["random"], watched["random"])
    for part in ("state", "optimizer"):
        assert len(alone[part]) == len(watched[part])
        assert all(torch.equal(a, b) for a, b in zip(alone[part], watched[part], strict=True))


def hooks(model: nn.Module) -> int:
    """Hooks on modules and parameters."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_always_called")
    on_modules = sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
    return on_modules + sum(len(p._post_accumulate_grad_hooks or {}) for p in model.parameters())


def test_no_hook_is_left_after_the_block_even_after_an_error() -> None:
    model = small_cnn()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model[3].register_forward_hook(lambda *call: None)
    monitor = always(model, optimizer)

    def fail() -> None:
        with monitor:
            assert hooks(model) > 10
            model(torch.randn(2, 3, 9, 8, 7))

    with pytest.raises(RuntimeError):
        fail()
    assert hooks(model) == 1
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert torch.overrides._get_current_function_mode() is None


def test_a_forward_pass_that_fails_leaves_no_mode_behind() -> None:
    model = small_cnn()
    with always(model, torch.optim.SGD(model.parameters(), 0.1)) as monitor:
        with pytest.raises(RuntimeError):
            model(torch.randn(2, 3, 9, 8, 7))
        assert torch.overrides._get_current_function_mode() is None
        model(torch.randn(2, 3, 9, 9)).sum().backward()
        monitor._optimizer.step()
    assert [layer.name for layer in monitor.steps[0].layers] == ["0", "3", "8"]
    assert monitor.steps[0].layers[2].std is not None


def test_between_checks_the_model_has_no_hooks() -> None:
    model = small_mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    seen = []
    with Monitor(model, optimizer, overhead=math.inf, every=3) as monitor:
        for _ in range(7):
            seen.append(hooks(model) > 0)
            model(torch.randn(4, 6)).sum().backward()
            optimizer.step()
    assert seen == [True, False, False, True, False, False, True]
    assert [record.step for record in monitor.steps] == [0, 3, 6]


def one_step(model: nn.Module, inputs: Tensor, **options: Any) -> StepRecord:
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with always(model, optimizer, **options) as monitor:
        model(inputs).square().mean().backward()
        optimizer.step()
    return monitor.steps[0]


def test_activations_are_summarised_layer_by_layer() -> None:
    model, inputs = small_mlp(), torch.randn(40, 6)
    with torch.no_grad():
        model[0].bias[2] = -100.0  # a unit that is never on
        model[2].bias[1] = 5.0  # one that is saturated, and not dead
        before = model[0](inputs).numpy()
        first = np.maximum(before, 0)
        second_before = model[2](model[1](model[0](inputs))).numpy()
        output = model(inputs).numpy()
    second = np.tanh(second_before)
    record = one_step(model, inputs)
    one, two, last = record.layers
    assert [layer.activation for layer in record.layers] == ["relu", "tanh", ""]
    assert (one.mean, one.std) == pytest.approx((first.mean(), first.std()), rel=1e-5)
    assert (two.mean, two.std) == pytest.approx((second.mean(), second.std()), rel=1e-5)
    assert (last.mean, last.std) == pytest.approx((output.mean(), output.std()), rel=1e-5)
    ordered = np.sort(before.ravel())
    assert one.percentiles == pytest.approx([ordered[round(q * 199)] for q in (0.05, 0.5, 0.95)], rel=1e-5)
    assert one.dead == pytest.approx(0.2)
    assert two.dead == 0.0
    assert last.dead is None
    assert two.saturation == pytest.approx((1 - second**2 < 0.05).mean())
    assert two.saturation is not None
    assert two.saturation >= 0.25
    assert one.saturation is None


def test_a_unit_is_dead_only_if_no_batch_of_the_window_wakes_it() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with always(model, optimizer, window=2) as monitor:
        for row in ([[1.0, -1.0]], [[-1.0, 1.0]], [[1.0, -1.0]], [[2.0, -1.0]]):
            model(torch.tensor(row)).sum().backward()
            optimizer.step()
    assert [record["0"].dead for record in monitor.steps] == [0.5, 0.0, 0.5, 0.5]


def test_channels_are_units_over_samples_and_positions() -> None:
    model, inputs = small_cnn(), torch.randn(10, 3, 9, 9)
    with torch.no_grad():
        model[1].weight[3] = 0.0
        model[1].bias[3] = -1.0  # a channel that the norm shuts
        normed = copy.deepcopy(model[:2])(inputs)
    record = one_step(model.train(), inputs)
    assert record["0"].dead == pytest.approx(1 / 8)
    assert record["0"].activation == "relu"
    assert record["0"].mean == pytest.approx(float(normed.relu().mean()), rel=1e-4)
    assert record["3"].activation == "gelu"


def test_a_large_activation_is_thinned_and_still_right() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    inputs = torch.randn(8, 1, 200, 200) + 1
    with torch.no_grad():
        expected = model[:2](inputs)
    record = one_step(model, inputs)
    assert record["0"].mean == pytest.approx(float(expected.mean()), rel=0.02)
    assert record["0"].std == pytest.approx(float(expected.std()), rel=0.02)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_and_updates_are_those_of_the_step(name: str) -> None:
    model, inputs = small_mlp(), torch.randn(40, 6)
    optimizer = OPTIMIZERS[name](model.parameters())
    before = [model[i].weight.detach().clone() for i in (0, 2, 4)]
    with always(model, optimizer) as monitor:
        for part in inputs.split(20):  # accumulated
            F.cross_entropy(model(part), torch.arange(20) % 3).backward()  # type: ignore[no-untyped-call]
        gradients = [model[i].weight.grad.clone() for i in (0, 2, 4)]
        optimizer.step()
    after = [model[i].weight.detach() for i in (0, 2, 4)]
    record = monitor.steps[0]
    rms = [float(g.square().mean().sqrt()) for g in gradients]
    ratios = [float((b - a).norm() / a.norm()) for a, b in zip(before, after, strict=True)]
    assert [layer.gradient_rms for layer in record.layers] == pytest.approx(rms, rel=1e-5)
    assert [layer.update_ratio for layer in record.layers] == pytest.approx(ratios, rel=1e-4)
    weights = [float(w.square().mean().sqrt()) for w in before]
    assert [layer.weight_rms for layer in record.layers] == pytest.approx(weights, rel=1e-5)
    assert record.gradient_slope == pytest.approx(np.polyfit(range(3), np.log10(rms), 1)[0], rel=1e-4)
    assert record.clipping == pytest.approx(1.0)
    rate = 0.1 if name == "sgd" else 0.01
    assert [layer.learning_rate for layer in record.layers] == pytest.approx([rate] * 3)


def test_clipping_is_told_and_gradients_are_those_after_it() -> None:
    model = small_mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer) as monitor:
        (100 * model(torch.randn(40, 6)).square().mean()).backward()
        total = float(nn.utils.clip_grad_norm_(model.parameters(), 0.01))
        optimizer.step()
    gradient = float(model[0].weight.grad.square().mean().sqrt())
    assert monitor.steps[0].clipping == pytest.approx(0.01 / total, rel=1e-3)
    assert monitor.steps[0]["0"].gradient_rms == pytest.approx(gradient, rel=1e-5)


def test_the_effective_rate_is_that_of_weights_whose_scale_a_norm_takes_out() -> None:
    model, inputs = small_cnn(), torch.randn(10, 3, 9, 9)
    square = float(model[0].weight.detach().square().sum())
    record = one_step(model, inputs)
    assert record["0"].effective_learning_rate == pytest.approx(0.01 / square, rel=1e-5)
    assert record["3"].effective_learning_rate is None
    model[1].eval()  # with running statistics the scale has its effect
    assert one_step(model, inputs)["0"].effective_learning_rate is None


@pytest.mark.parametrize("norm", [nn.LayerNorm(5), nn.GroupNorm(1, 5), nw.RMSNorm(5), nw.LayerNormAct(5)])
def test_every_norm_of_the_batch_takes_the_scale_out(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(6, 5), norm, nn.Linear(5, 2))
    record = one_step(model, torch.randn(9, 6))
    assert record["0"].effective_learning_rate is not None
    assert record["2"].effective_learning_rate is None


def test_running_statistics_are_held_against_the_batch_before_they_move() -> None:
    model, inputs = small_cnn(), torch.randn(10, 3, 9, 9)
    with torch.no_grad():
        model[1].running_mean.fill_(0.5)
        model[1].running_var.fill_(4.0)
        received = model[0](inputs).movedim(1, -1).reshape(-1, 8)
    record = one_step(model, inputs)
    (norm,) = record.norms
    gap = (received.mean(0) - 0.5) / 2
    spread = (received.std(0, correction=0) / 2).log()
    assert (norm.name, norm.kind, norm.training) == ("1", "BatchNorm2d", True)
    assert norm.mean_gap == pytest.approx(float(gap.square().mean().sqrt()), rel=1e-4)
    assert norm.spread_gap == pytest.approx(float(spread.square().mean().sqrt()), rel=1e-4)


def test_channels_are_compared_between_windows() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(50, 2, generator=generator) for _ in range(4)]
    moved = [
        *batches[:2],
        *(batch * torch.tensor([1.0, 3.0]) + torch.tensor([0.0, 2.0]) for batch in batches[2:]),
    ]
    with always(model, optimizer, window=2) as monitor:
        for batch in moved:
            model(batch).sum().backward()
            optimizer.step()
    first, second = (torch.cat(moved[i : i + 2]) for i in (0, 2))
    apart = (second.mean(0) - first.mean(0)).abs() / first.std(0, correction=0)
    spread = (second.std(0, correction=0) / first.std(0, correction=0)).log()
    assert [record["0"].mean_shift for record in monitor.steps[:3]] == [None] * 3
    last = monitor.steps[3]["0"]
    assert last.mean_shift == pytest.approx(float(apart.square().mean().sqrt()), rel=1e-4)
    assert last.largest_shift == pytest.approx(float(apart.max()), rel=1e-4)
    assert last.spread_shift == pytest.approx(float(spread.square().mean().sqrt()), rel=1e-4)


def test_functions_frozen_layers_and_fused_layers_are_seen() -> None:
    torch.manual_seed(0)
    model = Functional()
    record = one_step(model, torch.randn(9, 6))
    assert [(layer.name, layer.activation) for layer in record.layers] == [
        ("first", "leaky_relu"),
        ("shared", "gelu"),
        ("last", ""),
    ]
    assert record["first"].gradient_rms is None
    assert record["first"].update_ratio is None
    assert record["first"].std is not None
    assert record.gradient_slope is None


def test_a_fused_relu_has_its_dead_units() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nw.BatchNormAct1d(5, activation="relu"), nn.Linear(5, 1))
    with torch.no_grad():
        model[1].weight[0] = 0.0
        model[1].bias[0] = -1.0
    record = one_step(model, torch.randn(30, 6))
    assert record["0"].activation == "relu"
    assert record["0"].dead == pytest.approx(0.2)
    assert record.norms[0].kind == "BatchNormAct1d"


def test_validation_in_between_is_not_taken_for_training() -> None:
    model = small_mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer) as monitor:
        with torch.no_grad():
            model.eval()(100 * torch.ones(4, 6))
        model.train()(torch.zeros(4, 6)).sum().backward()
        expected = float(model[0].bias.detach().relu().mean())
        optimizer.step()
    assert monitor.steps[0]["0"].mean == pytest.approx(expected)
    assert monitor.steps[0].training


def test_what_is_not_finite_is_none_and_told() -> None:
    model = small_mlp()
    record = one_step(model, torch.full((4, 6), math.inf))
    assert not record["0"].finite
    assert record["0"].mean is None
    assert record["4"].gradient_rms is None


def test_a_copy_and_a_pickle_of_a_watched_model_are_unwatched() -> None:
    model = small_mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer) as monitor:
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            other(7 * torch.ones(4, 6)).sum().backward()
        model(torch.zeros(4, 6)).sum().backward()
        expected = float(model[0].bias.detach().relu().mean())
        optimizer.step()
    assert monitor.steps[0]["0"].mean == pytest.approx(expected)


class _Reads(TorchDispatchMode):
    """Counts reads of a value by the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func._schema.name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero")
        return func(*args, **(kwargs or {}))


def test_a_check_reads_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = small_cnn(), []
    plain = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda self: calls.append(1) or plain(self))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer, window=1) as monitor, _Reads() as reads:
        for _ in range(3):
            model(torch.randn(5, 3, 9, 9)).square().mean().backward()
            optimizer.step()
    assert len(monitor.steps) == len(calls) == 3
    assert reads.count == 0
    with _Reads() as reads:
        torch.ones(1).item()
    assert reads.count == 1


def test_memory_is_bounded() -> None:
    model = small_mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer, keep=3) as monitor:
        for _ in range(6):
            model(torch.randn(4, 6)).sum().backward()
            optimizer.step()
    steps = [record.step for record in monitor.steps]
    assert steps == [3, 4, 5]
    assert all(later - before == 1 for before, later in pairwise(steps))


def test_tensors_do_not_gather() -> None:
    model = small_cnn()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    held = []
    with always(model, optimizer, window=3, keep=2):
        for _ in range(24):
            optimizer.zero_grad()
            model(torch.randn(4, 3, 9, 9)).sum().backward()
            optimizer.step()
            gc.collect()
            held.append(sum(issubclass(type(each), Tensor) for each in gc.get_objects()))
    assert held[11] == held[17] == held[23]
    assert held[11] > 0
