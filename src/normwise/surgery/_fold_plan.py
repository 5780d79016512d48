"""Which norms can be folded into which layers, proved on the graph of one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

from normwise.graph import Call, Graph
from normwise.surgery._fold_flow import Flow
from normwise.surgery._fold_known import (
    NORMS,
    channel_map,
    extras,
    layer_axis,
    layer_meaning,
    leftover,
    looks_linear,
    meaning,
    norm_axis,
    norm_obstacle,
    norms_of,
    positions,
)
from normwise.surgery._fold_weights import border_value
from normwise.surgery._survey import Survey


@dataclass(frozen=True)
class Fold:
    """One norm to be taken into layers.

    Attributes:
        norm: its name.
        layers: the names of those that take it in.
        before: the norm stands before them, not behind.
        padding: around what the norm passed on, in the order of `torch.nn.functional.pad`; () for none.
    """

    norm: str
    layers: tuple[str, ...]
    before: bool = False
    padding: tuple[int, ...] = ()


class _NoError(Exception):
    """A norm stays; the text is the reason. `near`: a layer that could have taken it stands beside it."""

    def __init__(self, reason: str, near: bool = True) -> None:
        super().__init__(reason)
        self.near = near


class Planner:
    """One round of folding: each layer and each norm takes part once.

    Args:
        survey: of the model.
        graph: of its forward pass in evaluation.
        border: "pad" or "refuse", where a convolution pads the norm's output with zeros.
        banned: names of norms that must stay → why.
    """

    def __init__(self, survey: Survey, graph: Graph, border: str, banned: dict[str, str]) -> None:
        self._survey = survey
        self._graph = graph
        self._border = border
        self._banned = banned
        self._flow = Flow(graph, survey)
        self._taken: set[str] = set()

    def plan(self) -> tuple[list[Fold], dict[str, str]]:
        """The folds of this round, and why the other norms stay."""
        folds, reasons = [], {}
        for name, module in norms_of(self._survey.model).items():
            try:
                fold = self._fold(name, module)
            except _NoError as error:
                reasons[name] = str(error)
            else:
                if not self._taken & {fold.norm, *fold.layers}:
                    self._taken |= {fold.norm, *fold.layers}
                    folds.append(fold)
        return folds, reasons

    def _fold(self, name: str, norm: nn.Module) -> Fold:
        if name in self._banned:
            raise _NoError(self._banned[name])
        _refuse(self._survey.taken(norm) or norm_obstacle(norm))
        calls = self._graph.calls_of(name)
        if not calls:
            raise _NoError("the example does not reach it")
        for call in calls:
            if len(call.inputs) != 1 or len(call.outputs) != 1:
                raise _NoError("it is called with more than one tensor, or returns another number than one")
            into, out = (self._graph.values[each[0]] for each in (call.inputs, call.outputs))
            if into.shape != out.shape or into.dtype != out.dtype:
                raise _NoError("its output has another shape or dtype than its input")
        _refuse(self._flow.foreign_use(norm))
        try:
            return self._behind(name, norm, calls)
        except _NoError as behind:
            try:
                return self._before(name, norm, calls)
            except _NoError as before:
                raise (behind if behind.near or not before.near else before) from None

    def _behind(self, name: str, norm: nn.Module, calls: tuple[Call, ...]) -> Fold:
        """The fold of a norm into what stands before it."""
        sources: dict[int, Call] = {}
        for call in calls:
            found = self._flow.source(call)
            if isinstance(found, str):
                raise _NoError(found, near=False)
            source, path = found
            layer = self._survey.modules[source.module]
            kind = type(layer).__name__
            if layer_meaning(layer, output=True) is None:
                raise _NoError(f"`{source.module}` is a {kind}, which may do more than its base")
            _refuse(self._flow.other_reader(path, source, call))
            first = self._graph.values[path[0]]
            axes = self._flow.axes_behind(path, layer_axis(layer, len(first.shape)))
            if isinstance(axes, str):
                raise _NoError(axes)
            size = len(self._graph.values[path[-1]].shape)
            if norm_axis(norm, size) not in axes:
                raise _NoError(
                    f"its channels are on axis {norm_axis(norm, size)} of {size}, and those of "
                    f"`{source.module}` are on another"
                )
            sources[source.index] = source
        layers = tuple(dict.fromkeys(source.module for source in sources.values()))
        for each in layers:
            if any(call.index not in sources for call in self._graph.calls_of(each)):
                raise _NoError(f"`{each}` is also called where this norm does not follow")
            self._check_layer(each)
        return Fold(name, layers)

    def _before(self, name: str, norm: nn.Module, calls: tuple[Call, ...]) -> Fold:
        """The fold of a norm into what stands behind it."""
        if leftover(norm) is not None:
            raise _NoError("no layer stands right before it, and behind it comes its own activation")
        targets: dict[int, Call] = {}
        for call in calls:
            found = list(self._consumers(call))
            _refuse(self._flow.written(call.inputs[0], call.end, max(target.end for target in found)))
            targets.update((target.index, target) for target in found)
        layers = tuple(dict.fromkeys(target.module for target in targets.values()))
        for each in layers:
            if any(call.index not in targets for call in self._graph.calls_of(each)):
                raise _NoError(f"`{each}` is also called where this norm does not come before")
            self._check_layer(each)
        scale, shift = channel_map(norm)
        shifts = bool(shift.any())
        paddings = set()
        for target in targets.values():
            layer = self._survey.modules[target.module]
            axes = len(self._graph.values[target.inputs[0]].shape)
            theirs = layer_axis(layer, axes) if meaning(layer, NORMS) is None else norm_axis(layer, axes)
            if norm_axis(norm, axes) != theirs:
                raise _NoError(
                    f"its channels are on axis {norm_axis(norm, axes)} of {axes}, "
                    f"and `{target.module}` takes those on axis {theirs}"
                )
            paddings.add(self._padding(target.module, layer, shifts=shifts))
        if len(paddings) > 1 and not shifts:
            paddings = {()}
        (padding, *others) = paddings
        if others:
            raise _NoError(
                f"{_listed(layers)} pad differently with zeros, which it would have to map to zero"
            )
        if padding and border_value(scale, shift) is None:
            raise _NoError(
                f"`{layers[0]}` pads with zeros behind it, and in a channel where its weight is 0 "
                "nothing is mapped to zero"
            )
        return Fold(name, layers, before=True, padding=padding)

    def _consumers(self, call: Call) -> Iterator[Call]:
        """The calls of layers and norms that read what a norm returned, and nothing else may."""
        (value,) = call.outputs
        far = "neither right before nor right behind it stands a convolution, a linear layer or such a norm"
        found: list[Call] = []
        for op in self._graph.readers(value):
            reader = self._flow.call_around(op, value)
            if reader is None or not self._can_take(reader.module):
                if not call.holds(op):
                    raise _NoError(far if not found else self._flow.reads_it(op), near=bool(found))
            elif reader not in found:
                found.append(reader)
        if not found:
            raise _NoError(far, near=False)
        for reader in found:
            if reader.inputs.count(value) != 1 or reader.inputs[0] != value:
                raise _NoError(f"`{reader.module}` takes its output otherwise than as its first input")
        _refuse(self._flow.seen_by_others(value))
        yield from found

    def _can_take(self, name: str) -> bool:
        module = self._survey.modules[name]
        return looks_linear(module) or meaning(module, NORMS) is not None

    def _check_layer(self, name: str) -> None:
        layer = self._survey.modules[name]
        obstacle = self._survey.taken(layer)
        if meaning(layer, NORMS) is not None:
            obstacle = obstacle or norm_obstacle(layer)
        else:
            obstacle = obstacle or extras(layer)
            if layer_meaning(layer, output=True) is None:
                obstacle = f"a {type(layer).__name__} may do more than its base"
            elif obstacle is None and not _has_real_weight(layer):
                obstacle = "its weight is no plain tensor of real numbers"
        obstacle = obstacle or self._flow.foreign_use(layer)
        if obstacle is not None:
            raise _NoError(f"`{name}`: {obstacle}")

    def _padding(self, name: str, layer: nn.Module, *, shifts: bool) -> tuple[int, ...]:
        """What is to be padded in the layer's stead, as `pad` takes it; () for nothing.

        A norm that shifts nothing, as a fresh one, is padded behind like any other where that can be: the folded model
        of fresh weights then has the keys of any other, whose weights it loads.
        """
        try:
            return self._zeros(name, layer)
        except _NoError:
            if shifts:
                raise
            return ()

    def _zeros(self, name: str, layer: nn.Module) -> tuple[int, ...]:
        """The zeros that a layer puts around what it reads; () for none."""
        if isinstance(layer, _ConvTransposeNd):
            lone = (1,) * positions(layer)
            zero = (0,) * positions(layer)
            if (layer.kernel_size, layer.stride, layer.padding, layer.output_padding) != (
                lone,
                lone,
                zero,
                zero,
            ):
                raise _NoError(
                    f"`{name}` adds up different numbers of inputs at each place, and a shift is added as often"
                )
            return ()
        if layer_meaning(layer) is None and meaning(layer, NORMS) is None:
            raise _NoError(f"`{name}` is a {type(layer).__name__}, which may do more than its base")
        padding = tuple(getattr(layer, "_reversed_padding_repeated_twice", ()))
        if not any(padding) or layer.padding_mode != "zeros":
            return ()
        if self._border == "refuse":
            raise _NoError(
                f"`{name}` pads with zeros behind it, so that at the border there is no shift: border='pad' "
                "pads with what it maps to zero"
            )
        return padding


def _has_real_weight(layer: nn.Module) -> bool:
    weight = layer._parameters.get("weight")
    return weight is not None and weight.is_floating_point() and "bias" in layer._parameters


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise _NoError(reason)


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names)
