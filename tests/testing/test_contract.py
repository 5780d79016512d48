"""Each check of the contract fails on a layer that breaks it: a check that cannot fail would be worth nothing."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Proxy

from normwise import layers as nw
from normwise.errors import UnknownNameError
from normwise.functional import batch_norm
from normwise.kernels.cpu import library
from normwise.layers._recompute import in_recomputation
from normwise.testing import BACKENDS, FEATURES, LayerCase, check_layer

SHAPE = (3, 6, 4, 5)


class Base(nn.Module):
    """A right layer: a weight, a counter of calls in training but for recomputations, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Proxy):  # one node in a trace, so that it still follows `train` and `eval`
            tracer: Any = x.tracer
            node: Tensor = tracer.create_proxy("call_module", tracer.path_of_module(self), (x,), {})
            return node
        if self.training and not in_recomputation():
            self.calls += 1
        return self.answer(x)

    def answer(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None]


class Shifted(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) + 1e-2


class WrongInEvaluation(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) + (0.0 if self.training else 1e-2)


class SquaredGradient(Base):
    """The output is right and the gradient of the weight is not."""

    def answer(self, x: Tensor) -> Tensor:
        right = super().answer(x)
        return right + (right - right.detach())


class CountsTwice(Base):
    def answer(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return super().answer(x)


class AnswersFloat32(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x).float()


class RoundsCoarsely(Base):
    def answer(self, x: Tensor) -> Tensor:
        return (super().answer(x) * 8).round() / 8


class LeavesAutocast(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x).to(torch.float16 if torch.is_autocast_enabled("cpu") else x.dtype)


class OverflowsInAutocast(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) * (float("inf") if torch.is_autocast_enabled("cpu") else 1.0)


class AlwaysContiguous(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x).contiguous()


class AlwaysChannelsLast(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x).contiguous(memory_format=torch.channels_last)


class ReadsByStride(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) if x.stride(1) == 20 else x * 1.5


class GradientByStride(Base):
    def answer(self, x: Tensor) -> Tensor:
        right = super().answer(x)
        return right if x.stride(1) == 20 else right + (right - right.detach())


class GradientOfDense(Base):
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
            (dy,) = cotangents
            return dy.clone() if dy.is_contiguous() else dy * 2

    def answer(self, x: Tensor) -> Tensor:
        return super().answer(self.Same.apply(x))  # type: ignore[no-untyped-call]


class DiffersInInference(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) * (2.0 if torch.is_inference_mode_enabled() else 1.0)


class KeepsInferenceTensors(Base):
    """The weight's copy is made at the first call: in inference mode it is of no use for training."""

    kept: Tensor | None = None

    def answer(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.ones(6)[:, None, None]
        return super().answer(x) * self.kept


class DiffersInThreads(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) * (1.0 if threading.current_thread() is threading.main_thread() else 2.0)


class DiffersInRecomputation(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) * (2.0 if in_recomputation() else 1.0)


class CountsRecomputations(Base):
    def answer(self, x: Tensor) -> Tensor:
        self.calls += in_recomputation()
        return super().answer(x)


class BakesItsMode(Base):
    def __init__(self) -> None:
        super().__init__()
        del self.calls  # a trace would lose it, which is another fault

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(x) * (2.0 if self.training else 1.0)


class LosesEmpty(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) if len(x) else torch.zeros(1, 6, 4, 5) + x.sum()


class AveragesNothing(Base):
    def answer(self, x: Tensor) -> Tensor:
        self.calls = self.calls * 0 + x.detach().mean()
        return super().answer(x)


class MovesInEvaluation(Base):
    def answer(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().answer(x)


class NoisyInEvaluation(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) + torch.rand(())


class OverwritesInput(Base):
    def answer(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x.add_(1.0)
        return super().answer(x)


class Reshapes(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x).flatten(2)


class ExtraKey(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("more", torch.zeros(1))


class HiddenState(Base):
    """What decides the output is not in the state_dict."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        HiddenState.made += 1
        self.hidden = HiddenState.made

    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) * self.hidden


class SharesMemory(Base):
    def __deepcopy__(self, memo: object) -> SharesMemory:
        other = SharesMemory()
        other.weight, other.calls = self.weight, self.calls
        return other


class ForgetsOnCopy(Base):
    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"training": False}


class LooksAtValues(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) * (1.0 if float(x.detach().flatten()[0]) > -1e9 else 2.0)


class KeepsDevice(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) + torch.zeros(SHAPE, device="cpu").to("cpu")


class Detached(Base):
    def answer(self, x: Tensor) -> Tensor:
        return x * self.weight.detach()[:, None, None]


class OnceDifferentiable(Base):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return cotangents[0] * 2 * x.detach()

    def answer(self, x: Tensor) -> Tensor:
        return super().answer(self.Square.apply(x))  # type: ignore[no-untyped-call]


class FixedBatch(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x.reshape(SHAPE))


class DiffersWhenCompiled(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) * (2.0 if torch.compiler.is_compiling() else 1.0)


class MixesSamplesOfAMap(Base):
    def answer(self, x: Tensor) -> Tensor:
        mapped = torch._C._functorch.peek_interpreter_stack() is not None
        return super().answer(x) + (1.0 if mapped else 0.0)


class DiffersFromRunToRun(Base):
    def answer(self, x: Tensor) -> Tensor:
        return super().answer(x) + 1e-7 * next(_RUNS) * x


_RUNS = itertools.count()


# Feature, a layer that breaks it, and a word of the message.
BROKEN: list[tuple[str, type[Base], str]] = [
    ("twin", Shifted, "output"),
    ("twin", WrongInEvaluation, "training=False"),
    ("twin", SquaredGradient, "gradient of"),
    ("twin", CountsTwice, "buffer calls"),
    ("dtypes", AnswersFloat32, "gives torch.float32"),
    ("dtypes", RoundsCoarsely, "output in"),
    ("autocast", LeavesAutocast, "the twin gives"),
    ("autocast", OverflowsInAutocast, "not finite"),
    ("layout", AlwaysContiguous, "channels_last is lost"),
    ("layout", AlwaysChannelsLast, "contiguous_format is lost"),
    ("layout", ReadsByStride, "output in"),
    ("layout", GradientByStride, "gradient in"),
    ("gradient_layout", GradientOfDense, "for a gradient of strides"),
    ("inference_mode", DiffersInInference, "output in inference mode"),
    ("inference_mode", KeepsInferenceTensors, "[Ii]nference"),
    ("threads", DiffersInThreads, "in a thread"),
    ("checkpoint", DiffersInRecomputation, "gradient of weight, checkpointed"),
    ("checkpoint", CountsRecomputations, "buffer calls, checkpointed"),
    ("fx", BakesItsMode, "traced with training="),
    ("empty", LosesEmpty, "output of shape"),
    ("empty", AveragesNothing, "calls is not finite"),
    ("non_contiguous", ReadsByStride, "strided view"),
    ("modes", MovesInEvaluation, "evaluation moves calls"),
    ("modes", NoisyInEvaluation, "not deterministic"),
    ("modes", OverwritesInput, "the input is changed"),
    ("modes", Reshapes, "output of shape"),
    ("state_dict", ExtraKey, "more"),
    ("state_dict", HiddenState, "after loading|round trip"),
    ("deepcopy", SharesMemory, "shares"),
    ("deepcopy", ForgetsOnCopy, "training flag"),
    ("pickle", ForgetsOnCopy, "training flag"),
    ("meta", LooksAtValues, ""),
    ("meta", KeepsDevice, ""),
    ("gradients", SquaredGradient, "Jacobian"),
    ("gradients", Detached, "weight gets no gradient|not used|unused|Jacobian"),
    ("double_backward", OnceDifferentiable, "Jacobian"),
    ("forward_mode", OnceDifferentiable, "jvp|forward"),
    ("vmap", MixesSamplesOfAMap, "output of vmap"),
    ("vmap", LooksAtValues, ""),
    ("compile", DiffersWhenCompiled, "compiled"),
    ("compile", LooksAtValues, ""),
    ("export", FixedBatch, ""),
    ("export", DiffersWhenCompiled, "exported program"),
    ("onnx", DiffersWhenCompiled, "output of the ONNX program"),
    ("determinism", DiffersFromRunToRun, "differs from run to run"),
]


@pytest.mark.parametrize("feature", FEATURES)
def test_the_right_layer_passes(feature: str) -> None:
    check_layer(LayerCase(Base, SHAPE, Base), feature)


@pytest.mark.parametrize(
    ("feature", "broken", "word"),
    BROKEN,
    ids=[f"{feature}-{broken.__name__}" for feature, broken, _ in BROKEN],
)
# Torch leaves a warning behind when a layer fails half-way through tracing.
@pytest.mark.filterwarnings("default")
def test_a_broken_layer_fails(feature: str, broken: Callable[[], nn.Module], word: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s)^{feature}: .*({word})"):
        check_layer(LayerCase(broken, SHAPE, Base), feature)


def test_every_feature_has_a_layer_that_breaks_it() -> None:
    assert {feature for feature, _, _ in BROKEN} == set(FEATURES)


def test_all_features_at_once() -> None:
    check_layer(LayerCase(Base, SHAPE, Base))
    with pytest.raises(AssertionError, match=r"^modes: "):
        check_layer(LayerCase(MovesInEvaluation, SHAPE))


def test_refusals() -> None:
    refusing = LayerCase(OverwritesInput, SHAPE, refuses={"modes": AssertionError})
    check_layer(refusing, "modes")
    with pytest.raises(AssertionError, match="modes: expected AssertionError, and nothing was raised"):
        check_layer(LayerCase(Base, SHAPE, refuses={"modes": AssertionError}), "modes")
    with pytest.raises(AssertionError, match="compile"):
        check_layer(LayerCase(LooksAtValues, SHAPE, refuses={"compile": KeyError}), "compile")


PLANE = LayerCase(lambda: nw.BatchNorm2d(6), SHAPE, backends=BACKENDS)


def test_every_feature_has_a_back_end() -> None:
    assert set(BACKENDS) == set(FEATURES)


@pytest.mark.parametrize("feature", [name for name in FEATURES if name != "twin"])
def test_another_back_end_fails(feature: str) -> None:
    """Each feature's check sees what ran: it fails where the table has something else."""
    kernels = BACKENDS[feature] == "cpu"
    other = replace(PLANE, backends={**BACKENDS, feature: "none" if kernels else "portable"})
    with pytest.raises(
        AssertionError,
        match=f"^{feature}: .*(none must run, and|must hold portable|portable must run, and|'portable' was asked for)",
    ):
        check_layer(other, feature)


def test_a_layer_that_asks_for_torch_fails() -> None:
    class Quiet(nw.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return batch_norm(input, None, None, self.weight, self.bias, True, backend="aten")

    kernels = "native" if library.native() is not None else "portable"
    with pytest.raises(
        AssertionError, match=f"(?s)modes: {kernels} must run, and aten did: .*were asked for"
    ):
        check_layer(LayerCase(lambda: Quiet(6), SHAPE, backends=BACKENDS), "modes")


def test_a_layer_without_operations_fails_where_one_is_expected() -> None:
    with pytest.raises(AssertionError, match="must run, and none did"):
        check_layer(LayerCase(Base, SHAPE, backends=BACKENDS), "modes")


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normwise.kernels.registry._of_environment", lambda: "aten")
    check_layer(PLANE, "modes")
    check_layer(PLANE, "vmap")


def test_names_are_checked() -> None:
    with pytest.raises(UnknownNameError, match=r"'complie'.*Did you mean 'compile'"):
        check_layer(LayerCase(Base, SHAPE), "complie")
    with pytest.raises(UnknownNameError, match="'expotr'"):
        check_layer(LayerCase(Base, SHAPE, refuses={"expotr": RuntimeError}), "modes")


def test_the_callers_random_state_stays() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check_layer(LayerCase(lambda: nn.Dropout(0.5), SHAPE, lambda: nn.Dropout(0.5)), "twin")
    assert torch.equal(torch.get_rng_state(), before)
