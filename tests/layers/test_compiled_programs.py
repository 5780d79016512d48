"""What a compiler gets of a layer: torch's own programs, so that compiled they cost what torch's layers cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func
from torch.fx import GraphModule

import normwise as nw

Pair = tuple[Callable[[], nn.Module], Callable[[], nn.Module], tuple[int, ...]]


class OverChannels(nn.Module):
    """As it is written around torch's layer: channels last, and back into the input's layout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return y.contiguous() if x.is_contiguous() else y


PAIRS: dict[str, Pair] = {
    "batch": (lambda: nw.BatchNorm1d(8), lambda: nn.BatchNorm1d(8), (6, 8)),
    "batch, images": (lambda: nw.BatchNorm2d(8), lambda: nn.BatchNorm2d(8), (2, 8, 3, 3)),
    "batch, relu": (
        lambda: nw.BatchNormAct1d(8, activation="relu"),
        lambda: nn.Sequential(nn.BatchNorm1d(8), nn.ReLU()),
        (6, 8),
    ),
    "layer": (lambda: nw.LayerNorm(8), lambda: nn.LayerNorm(8), (6, 8)),
    "layer, over channels": (lambda: nw.LayerNorm2d(8), lambda: OverChannels(8), (2, 8, 3, 3)),
    "group": (lambda: nw.GroupNorm(2, 8), lambda: nn.GroupNorm(2, 8), (2, 8, 3, 3)),
    "rms": (lambda: nw.RMSNorm(8), lambda: nn.RMSNorm(8), (6, 8)),
    "linear": (lambda: nw.Linear(8, 4), lambda: nn.Linear(8, 4), (6, 8)),
}


def programs(layer: nn.Module, x: Tensor) -> list[list[str]]:
    """The operators of the forward and, in training, of the backward program, in their order."""
    found: list[list[str]] = []

    def keep(graph: GraphModule, _: object) -> Callable[..., object]:
        found.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return make_boxed_func(graph.forward)

    torch.compiler.reset()
    program = torch.compile(layer, backend=aot_autograd(fw_compiler=keep, bw_compiler=keep), fullgraph=True)
    y = program(x)
    if layer.training:
        y.sum().backward()
    return found


def inputs(shape: tuple[int, ...]) -> list[Tensor]:
    x = torch.randn(shape)
    return [x, x.to(memory_format=torch.channels_last)] if len(shape) == 4 else [x]


@pytest.mark.parametrize("name", PAIRS)
def test_evaluation_is_torchs_program(name: str) -> None:
    ours, theirs, shape = PAIRS[name]
    for x in inputs(shape):
        (found,) = programs(ours().eval(), x)
        assert [found] == programs(theirs().eval(), x)


@pytest.mark.parametrize("name", PAIRS)
def test_training_is_torchs_program_but_for_the_tracking_of_finite_batches(name: str) -> None:
    ours, theirs, shape = PAIRS[name]
    for x in inputs(shape):
        forward, backward = programs(ours(), x.requires_grad_())
        expected, expected_backward = programs(theirs(), x)
        assert backward == expected_backward
        if name.startswith("batch"):
            assert "aten.where.self" in forward  # a batch that is not finite moves nothing
            assert [op for op in forward if "batch_norm" in op] == [
                op for op in expected if "batch_norm" in op
            ]
        else:
            assert forward == expected
