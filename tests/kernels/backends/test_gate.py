"""Inputs and situations in which the kernels must not look at values: torch's operators run, and a name is refused."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.distributed.tensor import DTensor, Replicate, init_device_mesh
from torch.utils.flop_counter import FlopCounterMode

import normwise as nw
from normwise.errors import BackendError
from normwise.kernels.registry import recorded
from normwise.testing import assert_close

Call = Callable[[Tensor], Tensor]


class Subclass(Tensor):
    pass


@pytest.fixture
def untracked(layer: nn.Module) -> nn.Module:
    """Without running statistics: torch refuses to move those of a function that is transformed."""
    for name in list(layer._buffers):
        layer._buffers[name] = None
    layer.track_running_stats = False
    return layer


def in_fake_mode(layer: nn.Module, x: Tensor) -> Tensor:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        return layer(mode.from_tensor(x))


def as_a_fake_outside_its_mode(layer: nn.Module, x: Tensor) -> Tensor:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    return layer(mode.from_tensor(x))


def on_meta(layer: nn.Module, x: Tensor) -> Tensor:
    return layer.to("meta")(x.to("meta"))


def in_vmap(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.func.vmap(lambda y: layer(y), randomness="same")(x.unsqueeze(0)).squeeze(0)


def in_jvp(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.func.jvp(layer, (x,), (torch.ones_like(x),))[0]


def in_vjp(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.func.vjp(layer, x)[0]


def as_a_dual(layer: nn.Module, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(layer(forward_ad.make_dual(x, torch.ones_like(x)))).primal


def under_a_dispatch_mode(layer: nn.Module, x: Tensor) -> Tensor:
    with FlopCounterMode(display=False):
        return layer(x)


def as_a_subclass(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x.as_subclass(Subclass))


SITUATIONS: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], str]] = {
    "a fake mode": (in_fake_mode, "a dispatch mode sees every operator"),
    "a fake tensor": (as_a_fake_outside_its_mode, "a tensor is a FakeTensor"),
    "meta": (on_meta, "a tensor is on meta"),
    "vmap": (in_vmap, "a transform of torch.func is active"),
    "jvp": (in_jvp, "a transform of torch.func is active"),
    "vjp": (in_vjp, "a transform of torch.func is active"),
    "a dual number": (as_a_dual, "forward-mode differentiation is active"),
    "a dispatch mode": (under_a_dispatch_mode, "a dispatch mode sees every operator"),
    "a subclass": (as_a_subclass, "a tensor is a Subclass"),
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with (
        warnings.catch_warnings()
    ):  # torch compiles its forward-mode rules with a function that it deprecates
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        # A product of a fake and a true matrix: torch looks at the gradient of a view.
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning)
        yield


@pytest.mark.parametrize("name", SITUATIONS)
def test_torchs_operators_run_and_the_reason_is_noted(untracked: nn.Module, x: Tensor, name: str) -> None:
    situation, reason = SITUATIONS[name]
    with quiet(), nw.use_backend("auto"), recorded() as choices:
        torch.manual_seed(0)
        output = situation(untracked, x)
    assert {choice.backend for choice in choices} == {"aten"}
    assert reason in choices[0].refused["cpu"]
    assert output.shape == x.shape


@pytest.mark.parametrize("name", ["vmap", "jvp", "vjp", "a dual number", "a dispatch mode", "a subclass"])
def test_the_values_are_those_of_torch(untracked: nn.Module, x: Tensor, name: str) -> None:
    untracked.eval()
    with nw.use_backend("aten"):
        expected = untracked(x)
    with quiet(), nw.use_backend("auto"):
        actual = SITUATIONS[name][0](untracked, x)
    assert_close(actual.as_subclass(Tensor), expected)


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_binding_by_name_is_refused(layer: nn.Module, x: Tensor, name: str, binding: str) -> None:
    situation, reason = SITUATIONS[name]
    with quiet(), nw.use_backend(binding), pytest.raises(BackendError) as caught:
        situation(layer, x)
    text = str(caught.value)
    assert reason in text
    assert f"backend {binding!r} was asked for by name" in text
    assert "normwise.explain_backend" in text


def test_a_parameter_counts_as_much_as_the_input(binding: str) -> None:
    layer = nw.BatchNorm1d(4)
    layer.weight = nn.Parameter(torch.ones(4).as_subclass(Subclass))
    with nw.use_backend(binding), pytest.raises(BackendError, match="a tensor is a Subclass"):
        layer(torch.randn(8, 4))
    residual = torch.randn(8, 4).as_subclass(Subclass)
    with nw.use_backend(binding), pytest.raises(BackendError, match="a tensor is a Subclass"):
        nw.BatchNormAct1d(4)(torch.randn(8, 4), residual)


@pytest.fixture
def mesh(tmp_path: object) -> Iterator[torch.distributed.DeviceMesh]:
    """A mesh of this process alone."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_distributed_tensor_goes_to_torch(mesh: torch.distributed.DeviceMesh, binding: str) -> None:
    layer, other, values = nw.LayerNorm(6), nw.LayerNorm(6), torch.randn(8, 6)
    for name, value in layer.named_parameters():
        setattr(other, name, nn.Parameter(DTensor.from_local(value.detach().clone(), mesh, [Replicate()])))
    x = DTensor.from_local(values, mesh, [Replicate()])
    with nw.use_backend("auto"), recorded() as choices:
        output = other(x)
    assert [choice.refused["cpu"] for choice in choices] == ["a tensor is a DTensor"]
    assert isinstance(output, DTensor)
    assert_close(output.to_local(), layer(values))
    with nw.use_backend(binding), pytest.raises(BackendError, match="a tensor is a DTensor"):
        other(x)
