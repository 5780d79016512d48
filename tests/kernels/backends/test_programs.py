"""Programs around a layer: higher derivatives, compilers, checkpoints, processes, threads; and what ran in each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

import normwise as nw
from normwise import functional
from normwise.kernels.cpu import library
from normwise.kernels.registry import Choice, recorded
from normwise.monitor import SignalProbe
from normwise.testing import assert_close

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def ran(choices: list[Choice]) -> set[str]:
    return {choice.backend for choice in choices}


def critic(training: bool) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nw.BatchNorm1d(6), nn.Linear(6, 1))
    model.double().train(training)
    with torch.no_grad():
        model[2].weight.uniform_(0.5, 1.5)
        model[2].running_var.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize("training", [True, False])
def test_a_gradient_penalty_through_tanh_and_batch_norm(training: bool, binding: str) -> None:
    """WGAN-GP: the norm of the input's gradient is itself trained."""
    x = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = []
    for backend in (binding, "aten"):
        model = critic(training)
        points = x.clone().requires_grad_()
        with nw.use_backend(backend), recorded() as choices:
            (slope,) = torch.autograd.grad(model(points).square().sum(), points, create_graph=True)
            ((slope.norm(dim=1) - 1) ** 2).mean().backward()
        assert ran(choices) == {backend}
        found.append({"x": points.grad} | {name: p.grad for name, p in model.named_parameters()})
    largest = max(value.abs().max().item() for value in found[1].values())
    for name, expected in found[1].items():
        # The first layer's bias has no gradient but rounding errors behind batch statistics.
        assert_close(found[0][name], expected, what=name, scale=largest)


def loss_of(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    return lambda x: (functional_call(layer, parameters, (x,)) ** 3).sum()


def test_functional_derivatives_are_torchs(layer: nn.Module, x: Tensor) -> None:
    loss = loss_of(layer.double().eval())
    x = x.double()[:1, :, :2].contiguous()
    tangent = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(5))

    def derivatives() -> list[Tensor]:
        return [
            grad(loss)(x),
            jacrev(lambda y: layer(y))(x),
            hessian(loss)(x),
            jvp(loss, (x,), (tangent,))[1],
            vmap(grad(loss))(torch.stack((x, 2 * x))),
        ]

    with nw.use_backend("aten"):
        expected = derivatives()
    with nw.use_backend("auto"), recorded() as choices:
        found = derivatives()
    reasons = {choice.refused["cpu"] for choice in choices if choice.backend == "aten"}
    silent = isinstance(layer, nw.Dropout)  # it does nothing in evaluation
    assert ran(choices) == (set() if silent else {"aten"})
    assert reasons == (set() if silent else {"a transform of torch.func is active"})
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs)


def test_a_jvp_by_two_passes_in_reverse(layer: nn.Module, x: Tensor, binding: str) -> None:
    """`torch.autograd.functional.jvp` differentiates the kernel's gradient, with a tangent for each value."""
    loss = loss_of(layer.double().eval())
    x = x.double()
    tangent = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(5))
    with nw.use_backend(binding), recorded() as choices:
        found = torch.autograd.functional.jvp(loss, x, tangent)[1]
    assert ran(choices) == (set() if isinstance(layer, nw.Dropout) else {binding})
    with nw.use_backend("aten"):
        expected = jvp(loss, (x,), (tangent,))[1]
    assert_close(found, expected, scale=tangent.abs().sum().item())


@pytest.mark.parametrize("backend", ["aot_eager", "eager"])
def test_compiled_batch_norm_counts_and_tracks(backend: str, x: Tensor) -> None:
    torch.compiler.reset()
    ours, other = nw.BatchNormAct2d(4, activation="relu"), nw.BatchNormAct2d(4, activation="relu")
    compiled = torch.compile(other, backend=backend, fullgraph=True)
    with nw.use_backend("auto"):
        for step in range(3):
            ours(x + step)
        with recorded() as choices:
            for step in range(3):
                compiled(x + step)
    assert choices == []  # a graph of torch's operators ran, and no call of normwise's
    assert int(other.num_batches_tracked) == 3
    assert_close(other.running_mean, ours.running_mean)
    assert_close(other.running_var, ours.running_var)
    ours.eval(), other.eval()
    assert_close(compiled(x), ours(x))
    assert int(other.num_batches_tracked) == 3


def test_a_compiled_call_by_name_is_refused(binding: str) -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        lambda x: functional.layer_norm(x, (4,), backend=binding), backend="eager", fullgraph=True
    )
    if binding == "aten":
        assert_close(compiled(torch.ones(2, 4)), torch.zeros(2, 4))
        return
    with pytest.raises(Exception, match=r"BackendError|being compiled"):
        compiled(torch.ones(2, 4))


def test_saved_tensors_can_be_moved_away(layer: nn.Module, x: Tensor, binding: str) -> None:
    def gradients(pack: bool) -> list[Tensor]:
        torch.manual_seed(0)
        leaf = x.clone().requires_grad_()
        packed: list[int] = []

        def away(tensor: Tensor) -> Tensor:
            packed.append(tensor.numel())
            return tensor.clone()

        with nw.use_backend(binding), recorded() as choices:
            if pack:
                with torch.autograd.graph.saved_tensors_hooks(away, lambda tensor: tensor):
                    output = layer(leaf)
                # Dropout keeps a seed, and nothing else.
                assert packed or isinstance(layer, nw.Dropout)
            else:
                output = layer(leaf)
        assert ran(choices) == {binding}
        layer.zero_grad()
        output.backward(torch.linspace(-1, 1, x.numel()).view_as(x))
        return [leaf.grad, *(p.grad.clone() for p in layer.parameters())]

    for ours, plain in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(ours, plain)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_recomputes_on_the_same_back_end(
    layer: nn.Module, x: Tensor, binding: str, reentrant: bool
) -> None:
    leaf = x.requires_grad_()
    torch.manual_seed(0)
    with nw.use_backend(binding), recorded() as choices:
        output = checkpoint(layer, leaf, use_reentrant=reentrant)
        output.backward(torch.ones_like(output))
    # The recomputation may end within the layer, as soon as it has saved what is needed.
    assert ran(choices) == {binding}
    assert len(choices) == 2 or not reentrant


def test_the_probe_of_signals_sees_activations(x: Tensor) -> None:
    """It watches calls of activations, which a fused kernel does not make: torch's operators run under it."""
    torch.manual_seed(0)
    fused = nw.BatchNormAct2d(4, activation="relu")
    model = nn.Sequential(nn.Conv2d(4, 4, 1), fused, nn.Flatten(), nn.Linear(120, 2))
    targets = torch.zeros(3, dtype=torch.long)
    with recorded() as choices:
        signals = SignalProbe(model, x, targets, nn.functional.cross_entropy).measure(0)
    assert ran(choices) == {"aten"}
    assert len(signals.gradient_rms) == 1


class Normalized(Dataset[Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        # Small, so that the child runs it on one thread: a region of several hangs after a fork.
        return functional.layer_norm(torch.full((2, 8), float(index)) + torch.arange(8.0), (8,))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_loader_works_after_a_parallel_region(binding: str) -> None:
    big = torch.randn(64, 64, 32, 32)
    with nw.use_backend(binding):
        functional.group_norm(big, 8)  # a parallel region in the parent
        loader = DataLoader(
            Normalized(), batch_size=2, num_workers=1, multiprocessing_context="fork", timeout=60
        )
        batches = list(loader)
    with nw.use_backend("aten"):
        expected = [Normalized()[index] for index in range(4)]
    assert_close(torch.cat(batches), torch.stack(expected))


def test_threads_at_once_have_the_bits_of_one(layer: nn.Module, binding: str) -> None:
    """Each Python thread has a number of torch's threads of its own; sums do not depend on it."""
    layer.eval()
    x = torch.randn(16, 4, 64, 6, generator=torch.Generator().manual_seed(4))
    start, results, count = threading.Barrier(3, timeout=60), {}, torch.get_num_threads()

    def work(threads: int) -> None:
        torch.set_num_threads(threads)
        start.wait()
        leaf = x.clone().requires_grad_()
        with recorded() as choices:
            (slope,) = torch.autograd.grad(layer(leaf).square().sum(), leaf)
        results[threads] = (slope, ran(choices))

    with nw.use_backend(binding):
        workers = [threading.Thread(target=copy_context().run, args=(work, n)) for n in (1, 2, 3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    torch.set_num_threads(count)
    assert set(results) == {1, 2, 3}
    silent = isinstance(layer, nw.Dropout)  # it does nothing in evaluation
    for slope, backends in results.values():
        assert backends == (set() if silent else {binding})
        assert torch.equal(slope, results[1][0])


def test_a_new_thread_asks_for_what_the_environment_asks(x: Tensor) -> None:
    """`use_backend` holds in its own thread alone."""
    found: list[Choice] = []

    def work() -> None:
        with recorded() as choices:
            functional.layer_norm(x, (6,))
        found.extend(choices)

    with nw.use_backend("aten"), recorded() as outer:
        worker = threading.Thread(target=work)
        worker.start()
        worker.join(60)
    assert outer == []
    assert len(found) == 1
    assert "asked for" not in found[0].refused.get("cpu", "")


def test_the_bindings_that_are_found() -> None:
    """Both are loaded or say why not; the fastest of them is what "cpu" runs."""
    for name, loaded in (("portable", library.portable()), ("native", library.native())):
        assert (loaded is None) == (library.why_missing(name) is not None)
    fastest = "native" if library.native() else "portable" if library.portable() else None
    if fastest is None:
        with nw.use_backend("cpu"), pytest.raises(nw.errors.BackendError, match="without a C"):
            functional.layer_norm(torch.ones(2, 4), (4,))
    else:
        with nw.use_backend("cpu"), recorded() as choices:
            functional.layer_norm(torch.ones(2, 4), (4,))
        assert ran(choices) == {fastest}


SCRIPT = """
import torch, normwise as nw
choices = nw.explain_backend(nw.BatchNorm1d(4), torch.randn(64, 4))
print(choices[0].backend)
"""


def python(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_environment_names_a_back_end() -> None:
    done = python({"NORMWISE_BACKEND": "aten"})
    assert (done.returncode, done.stdout) == (0, "aten\n"), done.stderr


def test_an_unknown_name_in_the_environment_is_told() -> None:
    done = python({"NORMWISE_BACKEND": "portabel"})
    assert done.returncode != 0
    assert "NORMWISE_BACKEND: unknown backend 'portabel'. Did you mean 'portable'?" in done.stderr
