"""The loops that people write: scalers, closures, processes, compilers; what cannot be read rightly is refused."""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from normwise.errors import ArgumentError
from normwise.monitor import Monitor


def always(model: nn.Module, optimizer: Any, **options: Any) -> Monitor:
    """A monitor of every step."""
    return Monitor(model, optimizer, overhead=math.inf, every=1, **options)


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


def gradient(model: nn.Sequential, inputs: torch.Tensor) -> float:
    """RMS of the first weight's gradient, without a monitor and without any scale."""
    (found,) = torch.autograd.grad(model(inputs).square().mean(), model[0].weight)
    return float(found.square().mean().sqrt())


SCALED: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "plain": lambda p: torch.optim.SGD(p, 0.1),
    "fused": lambda p: torch.optim.Adam(p, 0.1, fused=True),
}


@pytest.mark.parametrize("unscaled", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", SCALED)
def test_gradients_under_a_scaler_are_unscaled(
    model: nn.Sequential, inputs: torch.Tensor, name: str, given: bool, unscaled: bool
) -> None:
    optimizer = SCALED[name](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    expected = gradient(model, inputs)
    with always(model, optimizer, scaler=scaler if given else None) as monitor:
        scaler.scale(model(inputs).square().mean()).backward()
        if unscaled:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    (record,) = monitor.steps
    assert record["0"].gradient_rms == pytest.approx(expected, rel=1e-4)
    assert not record.skipped
    if given:
        assert record.loss_scale == 1024.0
        assert record.clipping == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("name", SCALED)
def test_an_overflow_under_a_scaler_is_no_alarm(
    model: nn.Sequential, inputs: torch.Tensor, name: str
) -> None:
    optimizer = SCALED[name](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with always(model, optimizer, scaler=scaler) as monitor:
        for factor in (math.inf, 1.0):
            optimizer.zero_grad()
            scaler.scale(model(inputs).square().mean() * factor).backward()
            scaler.step(optimizer)
            scaler.update()
    skipped = [record.skipped for record in monitor.steps]
    assert skipped == ([False] if name == "plain" else [True, False])
    assert monitor.steps[-1]["0"].finite
    assert monitor.steps[-1].loss_scale == 512.0
    assert monitor.steps[-1].clipping == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("positional", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.LBFGS])
def test_a_closure_is_followed_into_the_step(
    model: nn.Sequential, inputs: torch.Tensor, kind: type[torch.optim.Optimizer], positional: bool
) -> None:
    optimizer = kind(model.parameters(), 0.1)  # type: ignore[call-arg]
    expected = gradient(model, inputs)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        loss.backward()
        return loss

    with always(model, optimizer) as monitor:
        loss = optimizer.step(closure) if positional else optimizer.step(closure=closure)
    assert loss is not None
    assert monitor.steps[0]["0"].gradient_rms == pytest.approx(expected, rel=1e-4)
    assert monitor.steps[0]["0"].update_ratio


def test_submodules_that_are_called_by_themselves_are_seen(
    model: nn.Sequential, inputs: torch.Tensor
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer) as monitor:
        model[2:](model[:2](inputs)).sum().backward()
        optimizer.step()
    assert [layer.std is not None for layer in monitor.steps[0].layers] == [True] * 3
    assert [layer.activation for layer in monitor.steps[0].layers] == ["relu", "tanh", ""]


def test_a_wrapped_optimizer_is_found(model: nn.Sequential, inputs: torch.Tensor) -> None:
    class Wrapper:
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

        def step(self) -> None:
            self.optimizer.step()

    optimizer = Wrapper(torch.optim.SGD(model.parameters(), 0.1))
    with always(model, optimizer) as monitor:
        model(inputs).sum().backward()
        optimizer.step()
    assert len(monitor.steps) == 1


def test_a_model_compiled_before_is_refused(model: nn.Sequential) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ArgumentError, match=r"hooks are ignored once a model is compiled.*hint"):
        Monitor(torch.compile(model, backend="eager"), optimizer)  # type: ignore[arg-type]
    monitor = Monitor(model, optimizer)
    model[2].compile(backend="eager")
    with pytest.raises(ArgumentError, match="a compiled module at '2'"):
        monitor.__enter__()


def test_a_compiled_function_around_the_model_is_refused(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    @torch.compile(backend="eager")
    def loss(x: torch.Tensor) -> torch.Tensor:
        return model(x).square().mean()

    with always(model, optimizer):
        loss(inputs).backward()
        with pytest.raises(ArgumentError, match="a compiled function around or inside of the model"):
            optimizer.step()


def test_a_function_compiled_before_is_refused(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss = torch.compile(lambda x: model(x).square().mean(), backend="eager")
    loss(inputs).backward()
    with always(model, optimizer):
        loss(inputs).backward()
        with pytest.raises(ArgumentError, match=r"compiled"):
            optimizer.step()


def test_a_step_of_which_nothing_was_seen_is_refused(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(inputs).sum().backward()
    with always(model, optimizer), pytest.raises(ArgumentError, match="no layer of it was called"):
        optimizer.step()


def test_scripted_and_replicated_models_are_refused(model: nn.Sequential) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ArgumentError, match="DataParallel"):
        Monitor(DataParallel(model), optimizer)
    scripted = torch.jit.ScriptModule()
    with pytest.raises(ArgumentError, match="a scripted module at '1'"):
        Monitor(nn.Sequential(model, scripted), optimizer)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process")
def test_a_model_under_ddp_is_unwrapped_and_says_so(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    expected = gradient(model, inputs)
    parallel = DistributedDataParallel(model)
    with always(parallel, optimizer) as monitor:
        parallel(inputs).square().mean().backward()
        optimizer.step()
    (record,) = monitor.steps
    assert [layer.name for layer in record.layers] == ["0", "2", "4"]
    assert record["0"].gradient_rms == pytest.approx(expected, rel=1e-4)
    assert record.clipping is None
    assert "process 0 of 1" in monitor.notes[0]


@pytest.mark.usefixtures("process")
def test_a_sharded_model_is_refused(model: nn.Sequential) -> None:
    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    fully_shard(model, mesh=mesh)
    with pytest.raises(ArgumentError, match=r"whole weights and gradients. Got an FSDP module"):
        Monitor(model, torch.optim.SGD(model.parameters(), 0.1))


def test_optimizers_that_step_during_the_backward_pass_are_refused(
    model: nn.Sequential, inputs: torch.Tensor
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    handle = model[0].weight.register_post_accumulate_grad_hook(lambda weight: optimizer.step())
    with always(model, optimizer), pytest.raises(ArgumentError, match="steps during the backward pass"):
        model(inputs).sum().backward()
    handle.remove()
    model[0].weight._in_backward_optimizers = [optimizer]  # as torch.distributed.optim marks them
    with pytest.raises(ArgumentError, match=r"'0\.weight' with an optimizer of its own"):
        Monitor(model, optimizer)


WRONG: dict[str, tuple[Callable[[nn.Module, Any], Any], str]] = {
    "model": (
        lambda model, optimizer: Monitor(3, optimizer),
        "`model` must be an nn.Module. Got a value of type int",
    ),  # type: ignore[arg-type]
    "optimizer": (lambda model, optimizer: Monitor(model, model), "must be a torch.optim.Optimizer"),  # type: ignore[arg-type]
    "other": (
        lambda model, optimizer: Monitor(nn.Linear(2, 2), optimizer),
        "`optimizer` must hold parameters of `model`",
    ),
    "weightless": (
        lambda model, optimizer: Monitor(
            nn.Sequential(norm := nn.LayerNorm(2)), torch.optim.SGD(norm.parameters())
        ),
        "must have linear layers or convolutions",
    ),
    "lazy": (
        lambda model, optimizer: Monitor(nn.Sequential(model, nn.LazyLinear(2)), optimizer),
        "no shape yet",
    ),
    "every": (lambda model, optimizer: Monitor(model, optimizer, every=0), "`every`.*Got 0"),
    "window": (lambda model, optimizer: Monitor(model, optimizer, window=1.5), "`window`.*1.5"),  # type: ignore[arg-type]
    "keep": (lambda model, optimizer: Monitor(model, optimizer, keep=-1), "`keep`.*-1"),
    "overhead": (lambda model, optimizer: Monitor(model, optimizer, overhead=0), "`overhead`.*Got 0"),
    "scaler": (
        lambda model, optimizer: Monitor(model, optimizer, scaler=2.0),
        "`scaler` must be a GradScaler",
    ),  # type: ignore[arg-type]
    "sink": (
        lambda model, optimizer: Monitor(model, optimizer, sinks=[3]),
        "`sinks` must be paths or callables",
    ),  # type: ignore[list-item]
    "folder": (
        lambda model, optimizer: Monitor(model, optimizer, sinks=["/no/such/folder/file.jsonl"]),
        "must be a file that can be written.*No such file",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(model: nn.Sequential, name: str) -> None:
    call, words = WRONG[name]
    with pytest.raises(ArgumentError, match=words):
        call(model, torch.optim.SGD(model.parameters(), 0.1))


def test_a_monitor_is_entered_once_at_a_time(model: nn.Sequential) -> None:
    monitor = always(model, torch.optim.SGD(model.parameters(), 0.1))
    with monitor, pytest.raises(ArgumentError, match="entered once at a time"):
        monitor.__enter__()
    with monitor:
        pass


def test_two_monitors_see_the_same(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer) as one, always(model, optimizer) as two:
        for _ in range(2):
            model(inputs).sum().backward()
            optimizer.step()
    assert one.steps[1].layers == two.steps[1].layers
    assert torch.overrides._get_current_function_mode() is None


def test_a_package_that_was_never_imported_is_not_imported(
    model: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch._dynamo.eval_frame", "torch.distributed.fsdp", "torch.distributed.tensor"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    Monitor(model, torch.optim.SGD(model.parameters(), 0.1))
    assert not {"torch._dynamo.eval_frame", "torch.distributed.fsdp"} & set(sys.modules)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler reads it
def test_a_compiled_function_inside_of_the_model_is_refused(inputs: torch.Tensor) -> None:
    compiled = torch.compile(lambda x: torch.relu(x) + 1, backend="eager")

    class Inside(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return compiled(super().forward(input))

    model = Inside(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(inputs)
    with always(model, optimizer):
        model(inputs).sum().backward()
        with pytest.raises(ArgumentError, match="a compiled function around or inside of the model"):
            optimizer.step()


def test_an_export_in_between_is_nobodys_step(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer) as monitor:
        exported = torch.export.export(model, (inputs,)).module()
        torch.testing.assert_close(exported(inputs), model(inputs))
        model(inputs).sum().backward()
        optimizer.step()
    assert monitor.steps[0]["0"].activation == "relu"


def test_a_scaler_that_is_off_says_nothing(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with always(model, optimizer, scaler=scaler) as monitor:
        scaler.scale(model(inputs).sum()).backward()
        scaler.step(optimizer)
    assert monitor.steps[0].loss_scale is None
    assert monitor.steps[0].clipping == pytest.approx(1.0)


def test_a_reentrant_checkpoint_is_seen_in_its_second_run(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer) as monitor:
        for _ in range(2):
            checkpoint(model, inputs.clone().requires_grad_(), use_reentrant=True).sum().backward()
            optimizer.step()
    assert [layer.activation for layer in monitor.steps[1].layers] == ["relu", "tanh", ""]
    assert torch.overrides._get_current_function_mode() is None


def test_samples_under_vmap_are_refused(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer):
        torch.vmap(model)(inputs).sum().backward()
        with pytest.raises(ArgumentError, match="no layer of it was called"):
            optimizer.step()


def test_a_monitor_that_is_entered_again_goes_on(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    monitor = Monitor(model, optimizer, overhead=math.inf, every=3)
    for _ in range(6):
        with monitor:
            model(inputs).sum().backward()
            optimizer.step()
    assert [record.step for record in monitor.steps] == [0, 3]


def test_an_empty_batch_is_no_reason_to_stop(model: nn.Sequential, inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer, window=1) as monitor:
        for batch in (inputs[:0], inputs[:0], inputs):
            model(batch).sum().backward()
            optimizer.step()
    assert [record["0"].finite for record in monitor.steps] == [False, False, True]


def test_an_activation_of_a_validation_is_not_taken_for_that_of_training(
    model: nn.Sequential, inputs: torch.Tensor
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with always(model, optimizer) as monitor:
        output = model[0](inputs)
        with torch.no_grad():
            model[1](inputs)
        output.sum().backward()
        optimizer.step()
    assert monitor.steps[0]["0"].activation == ""
