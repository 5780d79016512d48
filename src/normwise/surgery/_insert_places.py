"""Where a norm can stand in a model: behind which layers, and behind which activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from normwise.graph import Call, Graph
from normwise.layers.normalized import NORMALIZED
from normwise.surgery._insert_norms import is_norm
from normwise.surgery._survey import Survey

_SHAPES = frozenset(
    (
        *("view", "_unsafe_view", "reshape", "transpose", "permute", "t", "unsqueeze", "squeeze", "flatten"),
        *("clone", "contiguous", "expand", "alias"),
    )
)
"""Operators that give the same values in another shape."""

_NORMS = frozenset(
    (
        *("native_layer_norm", "native_group_norm", "native_batch_norm", "_native_batch_norm_legit"),
        *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "_fused_rms_norm"),
        *("cudnn_batch_norm", "_batch_norm_with_update", "_batch_norm_no_update"),
    )
)
"""Operators that normalize."""


@dataclass(frozen=True)
class Place:
    """A norm to be put in.

    Attributes:
        layer: name of the linear layer or convolution.
        target: name of the module behind whose outputs the norm stands: the layer, or its activation.
        norm: what is put there.
        drops_bias: the layer's bias goes.
    """

    layer: str
    target: str
    norm: nn.Module
    drops_bias: bool


def why_not(survey: Survey, graph: Graph, name: str, module: nn.Module, calls: Sequence[Call]) -> str | None:
    """Why a layer cannot hold a norm; None where it can."""
    if survey.read(module) is not None:
        return survey.read(module)
    if not calls:
        return f"it is not called on the example in {'training' if graph.training else 'evaluation'}"
    if len(calls) > 1:
        return f"it is called {len(calls)} times, and one norm would mix what differs"
    if survey.shared(module):
        return "it stands at several places"
    obstacle = survey.obstacle(module)
    if obstacle is not None:
        return obstacle
    for parameter in module._parameters:
        for _, call in graph.uses_of(f"{name}.{parameter}" if name else parameter):
            if call is None or call.module != name:
                return f"its {parameter} is read outside of it, too"
    if len(calls[0].outputs) != 1:
        return "it gives more than one tensor"
    return None


def is_output(graph: Graph, call: Call, survey: Survey) -> bool:
    """Whether no other such layer comes behind this one."""
    reached = set(call.outputs)
    for op in graph.ops[call.end :]:
        if reached.isdisjoint(op.inputs):
            continue
        inner = graph.calls[op.call] if op.call >= 0 else None
        if inner is not None and type(survey.at[inner.module]) in NORMALIZED:
            return False
        reached.update(op.outputs)
        reached.update(op.writes)
    return True


def normalized_already(survey: Survey, graph: Graph, call: Call) -> str | None:
    """What normalizes a layer's outputs, as they are or in another shape; None where nothing does."""
    waiting, seen = list(call.outputs), set(call.outputs)
    while waiting:
        value = waiting.pop()
        for other in graph.calls:
            if other.inputs[:1] == (value,) and is_norm(survey.at[other.module]):
                return f"`{other.module}` normalizes it already"
        for op in graph.readers(value):
            base = op.name.split(".")[1]
            if base in _NORMS:
                return "a function normalizes it already"
            if base in _SHAPES:
                waiting += [each for each in op.outputs if each not in seen]
                seen.update(op.outputs)
    return None


def activation_behind(survey: Survey, graph: Graph, call: Call) -> tuple[str, str | None]:
    """The activation module that takes a layer's outputs and nothing else does; or why there is none."""
    (value,) = call.outputs
    for other in graph.calls:
        module = survey.at[other.module]
        is_activation = type(module).__module__ == "torch.nn.modules.activation" and not list(
            module.children()
        )
        if other.inputs[:1] != (value,) or not is_activation:
            continue
        if not all(call.holds(op) or other.holds(op) for op in graph.readers(value)):
            return "", "its outputs go elsewhere, too, and not only into the activation"
        if len(graph.calls_of(other.module)) > 1 or survey.shared(module):
            return "", f"its activation `{other.module}` is called at several places"
        if module._parameters:
            return "", f"its activation `{other.module}` has parameters, whose names would change"
        obstacle = survey.obstacle(module)
        return other.module, None if obstacle is None else f"`{other.module}`: {obstacle}"
    return "", "its activation is no module of its own, behind which a norm could stand"
