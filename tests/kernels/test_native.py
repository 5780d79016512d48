"""The two bindings give the same bits, and the native one writes over a gradient only where nobody sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.profiler import ProfilerActivity, profile

import normwise as nw
from normwise import functional
from normwise.errors import BackendError
from normwise.kernels.cpu import library

pytestmark = pytest.mark.usefixtures("native_built")

BINDINGS = ("portable", "native")


def layers(dtype: torch.dtype, activation: str, rate: float) -> dict[str, nn.Module]:
    after: dict[str, Any] = {"activation": activation, "dropout": rate, "dtype": dtype}
    return {
        "batch": nw.BatchNormAct2d(6, **after),
        "batch_cumulative": nw.BatchNormAct2d(6, momentum=None, affine=False, **after),
        "group": nw.GroupNormAct(3, 6, **after),
        "instance": nw.InstanceNormAct2d(6, affine=True, **after),
        "layer": nw.LayerNormAct((5, 7), **after),
        "rms": nw.RMSNormAct(7, **after),
    }


def steps(layer: nn.Module, binding: str, inputs: list[Tensor], residual: bool) -> list[Tensor]:
    """All that two training steps and an evaluation leave behind."""
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    torch.manual_seed(1)
    left: list[Tensor] = []
    with nw.use_backend(binding):
        for _ in range(2):
            ins = [t.detach().requires_grad_() for t in inputs]
            y = layer(ins[0], residual=ins[1] if residual else None)
            (y * inputs[2]).sum().backward()
            left += [y.detach(), *(t.grad for t in ins[: 1 + residual])]
        left += [p.grad.clone() for p in layer.parameters()]
        left += [layer.eval()(inputs[0]).detach(), torch.random.get_rng_state()]
    left += [b.clone() for b in layer.buffers()]
    layer.train().zero_grad()
    layer.load_state_dict(state)
    return left


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("residual", [False, True])
def test_the_bindings_agree_bit_for_bit(dtype: torch.dtype, activation: str, residual: bool) -> None:
    torch.manual_seed(0)
    shapes: list[Callable[[Tensor], Tensor]] = [
        lambda t: t,
        lambda t: t.to(memory_format=torch.channels_last),
        lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    ]
    for lay in shapes:
        inputs = [lay(torch.randn(4, 6, 5, 7).to(dtype)) for _ in range(3)]
        for rate in (0.0, 0.3):
            for name, layer in layers(dtype, activation, rate).items():
                found = [steps(layer, binding, inputs, residual) for binding in BINDINGS]
                for a, b in zip(*found, strict=True):
                    assert a.stride() == b.stride(), name
                    assert torch.equal(a, b), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("given", [True, False])
def test_the_bindings_drop_the_same_elements(dtype: torch.dtype, given: bool) -> None:
    for models in (1, 3):
        found = []
        for binding in BINDINGS:
            torch.manual_seed(7)
            generator = torch.Generator().manual_seed(8) if given else None
            x = torch.ones(6, 5, 7, dtype=dtype, requires_grad=True)
            with nw.use_backend(binding):
                y = [functional.dropout(x, 0.3, generator=generator, stacked=models) for _ in range(2)]
            y[1].sum().backward()
            assert torch.equal(y[1].detach(), x.grad)
            assert not torch.equal(y[0], y[1])
            found.append((*y, x.grad, torch.rand(1), torch.rand(1, generator=generator)))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_it_runs_and_says_so() -> None:
    layer, x = nw.BatchNorm1d(4), torch.randn(8, 4)
    for name, ran in (("native", "native"), ("portable", "portable"), ("cpu", "native"), ("auto", "native")):
        with nw.use_backend(name):
            choice = nw.explain_backend(layer, x)[0]
        assert (choice.backend, choice.isa) == (ran, library.isa())
        assert set(choice.refused) == (set() if ran == "native" else {"native"})


def test_the_kernels_are_those_of_the_portable_binding() -> None:
    portable, x = library.portable(), torch.randn(64, 33)
    before = portable.isa()
    found: dict[str, Tensor] = {}
    try:
        for isa in ("baseline", before):
            portable.use_isa(isa)
            results = []
            for binding in BINDINGS:
                with nw.use_backend(binding):
                    results.append(functional.batch_norm(x, None, None, training=True, activation="gelu"))
                    assert nw.explain_backend(nw.BatchNorm1d(33), x)[0].isa == isa
            assert torch.equal(*results)
            found[isa] = results[0]
    finally:
        portable.use_isa(before)
    torch.testing.assert_close(found["baseline"], found[before])


class _Subclass(Tensor):
    pass


def _jvp(call: Callable[[Tensor], Tensor], x: Tensor) -> None:
    with forward_ad.dual_level():
        call(forward_ad.make_dual(x, torch.ones_like(x)))


REFUSED: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], Any]] = {
    "subclass": lambda call, x: call(x.as_subclass(_Subclass)),
    "meta": lambda call, x: call(x.to("meta")),
    "vmap": lambda call, x: torch.func.vmap(call, randomness="different")(x.expand(2, 8, 4)),
    "grad": lambda call, x: torch.func.grad(lambda x: call(x).sum())(x),
    "forward mode": _jvp,
    "jit": lambda call, x: torch.jit.trace(call, x, check_trace=False),
    "negated": lambda call, x: call(torch.complex(x, x).conj().imag),
    "zero": lambda call, x: call(torch._efficientzerotensor((8, 4))),
    "sparse": lambda call, x: call(x.to_sparse()),
    "integers": lambda call, x: call(x.to(torch.int64)),
    "empty": lambda call, x: call(x[:0]),
}


# torch says of its own tracer, and of what forward mode calls, that they are deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("how", REFUSED)
@pytest.mark.parametrize("operation", ["group_norm", "dropout"])
def test_what_stands_for_something_else_is_refused(binding: str, how: str, operation: str) -> None:
    def call(x: Tensor) -> Tensor:
        return functional.group_norm(x, 2) if operation == "group_norm" else functional.dropout(x, 0.5)

    with nw.use_backend(binding), pytest.raises(BackendError, match="was asked for by name"):
        REFUSED[how](call, torch.randn(8, 4))


def test_sizes_that_do_not_fit_are_refused(binding: str) -> None:
    x = torch.randn(8, 4)
    for wrong in (torch.ones(3), torch.ones(5), torch.ones(4, dtype=torch.float64)):
        with pytest.raises(BackendError, match="parameters of"):
            functional.batch_norm(x, None, None, wrong, training=True, backend=binding)
    with pytest.raises(BackendError, match="parameters of"):
        functional.batch_norm(x, torch.zeros(3), torch.ones(3), training=False, backend=binding)


def test_the_default_device_is_of_no_concern(binding: str) -> None:
    x = torch.randn(8, 4, requires_grad=True)
    with torch.device("meta"), nw.use_backend(binding):
        y = functional.batch_norm(x, None, None, training=True, activation="relu", dropout=0.3)
        functional.dropout(y, 0.2).sum().backward()
    assert x.grad.device.type == "cpu"


# ---- dx over dy ------------------------------------------------------------------------------------------------------


def call(x: Tensor, name: str = "dropout") -> Tensor:
    if name == "dropout":
        return functional.dropout(x, 0.5, generator=torch.Generator().manual_seed(1))
    return functional.batch_norm(x, None, None, training=True, activation="relu")


def allocations(work: Callable[[], object], size: int) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    return sum(event.self_cpu_memory_usage >= size for event in found.events())


@pytest.mark.parametrize("name", ["dropout", "batch_norm"])
def test_a_gradient_that_nobody_holds_is_written_over(name: str) -> None:
    x, factor = torch.randn(64, 64, requires_grad=True), torch.randn(64, 64)
    counts = {}
    for binding in BINDINGS:
        with nw.use_backend(binding):
            y = (call(x, name) * factor).sum()
            # The product's gradient; then that of x.
            counts[binding] = allocations(lambda y=y: torch.autograd.grad(y, x), x.nbytes)
    assert counts == {"portable": 2, "native": 1}


class _Hand(torch.autograd.Function):
    """Hands on a gradient that is somebody's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Callable[[], Tensor]) -> Tensor:
        ctx.gradient = gradient
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *dy: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient(), None


@pytest.mark.parametrize("name", ["dropout", "batch_norm"])
def test_a_gradient_that_somebody_holds_is_left_alone(name: str) -> None:
    x, factor = torch.randn(8, 16, requires_grad=True), torch.randn(8, 16)
    held: list[Tensor] = []

    def user(y: Tensor) -> None:
        held.append(factor.clone())
        y.backward(held[0])

    def retained(y: Tensor) -> None:
        y.retain_grad()
        (y * factor).sum().backward()
        held.append(y.grad)

    def hooked(y: Tensor) -> None:
        y.register_hook(held.append)
        (y * factor).sum().backward()

    def captured(y: Tensor) -> None:
        held.append(torch.autograd.grad((y * factor).sum(), (y, x))[0])

    def shared(y: Tensor) -> None:
        z = torch.zeros_like(y, requires_grad=True)
        ((y + z) * factor).sum().backward()
        held.append(z.grad)

    def viewed(y: Tensor) -> None:
        z = torch.zeros(128, requires_grad=True)
        ((y + z.view(8, 16)) * factor).sum().backward()
        held.append(z.grad.view(8, 16))

    def of_numpy(y: Tensor) -> None:
        array = np.array(factor.numpy())
        _Hand.apply(y, lambda: torch.from_numpy(array)).sum().backward()
        held.append(torch.from_numpy(array))

    def saved(y: Tensor) -> None:
        _Hand.apply(y, lambda: held[0]).sum().backward()

    def of_a_closure(y: Tensor) -> None:
        held.append(factor.clone())
        saved(y)

    with nw.use_backend("native"):
        expected = torch.autograd.grad(call(x, name), x, factor)[0]
        for hold in (user, retained, hooked, captured, shared, viewed, of_numpy, of_a_closure):
            x.grad = None
            hold(call(x, name))
            assert torch.equal(held[0], factor), hold.__name__
            if x.grad is not None:
                assert torch.equal(x.grad, expected), hold.__name__
            held.clear()


def test_a_small_bare_call_is_torchs_where_only_the_portable_binding_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(library, "native", lambda: None)
    x = torch.randn(8, 4)
    for layer, ran in ((nw.BatchNorm1d(4), "aten"), (nw.BatchNormAct1d(4, activation="relu"), "portable")):
        assert nw.explain_backend(layer, x)[0].backend == ran
        with nw.use_backend("cpu"):
            assert nw.explain_backend(layer, x)[0].backend == "portable"
