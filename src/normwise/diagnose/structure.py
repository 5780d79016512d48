"""A forward pass as steps: the layers and functions that were called, who feeds whom, and what each does to values.

A step is a call of a layer that holds no others, or an operator outside of such calls. What is made of parameters and
random numbers alone is no step, so that adding learned positions has one source, and adding a shortcut two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from normwise.diagnose.facts import Facts
from normwise.errors import ArgumentError
from normwise.graph import Call, Graph, Op, trace
from normwise.layers.normalized import Normalized
from normwise.monitor.signals import OWN_ACTIVATION, WEIGHTED
from normwise.surgery._insert_norms import is_norm

Kind = Literal[
    "linear", "norm", "dropout", "reshape", "move", "mean", "affine", "add", "softmax", "one-sided", "other"
]
"""Of a step:

- linear: a linear layer or convolution, or a product with a parameter;
- norm: a normalization without an activation of its own;
- dropout: also as a function;
- reshape: the same numbers in the same order, or the same tensor;
- move: the same numbers elsewhere: a transposition, a part, a pixel shuffle;
- mean: a mean or sum over axes;
- affine: a parameter or a number added, or multiplied with;
- add: the sum or difference of two results;
- softmax: softmax, its logarithm, or the logistic function;
- one-sided: an activation whose outputs are never negative;
- other: anything else, such as the other activations.
"""

THE_INPUT = -1
"""In the place of a step's number."""

_ROWS = 4
"""Samples of the pass that is looked at; what is called does not depend on how many."""

_NAMES: dict[Kind, str] = {
    "linear": "convolution _convolution mm addmm bmm baddbmm linear matmul mv einsum mkldnn_convolution",
    "norm": (
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
        "_batch_norm_with_update cudnn_batch_norm native_layer_norm native_group_norm _fused_rms_norm"
    ),
    "dropout": "native_dropout",
    "reshape": "view _unsafe_view reshape unsqueeze squeeze clone contiguous alias detach _to_copy expand",
    "move": (
        "permute transpose t slice select split split_with_sizes unbind pixel_shuffle flip roll narrow "
        "index chunk"
    ),
    "mean": "mean sum _adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d avg_pool2d avg_pool3d",
    "add": "add sub rsub",
    "affine": "mul div",
    "softmax": "_softmax _log_softmax sigmoid",
    "one-sided": "relu softplus",
}
_KINDS: dict[str, Kind] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_FRESH = ("empty_like", "zeros_like", "ones_like", "rand_like", "randn_like", "full_like", "new_empty")


@dataclass(frozen=True, eq=False)
class Step:
    """A call of a layer, or an operator.

    Attributes:
        index: its number, in order.
        name: of the layer; of an operator, the module in whose forward pass it stands.
        module: the layer; None for an operator.
        kind: what it does.
        ops: of torch, in short.
        sources: the steps whose results it reads; `THE_INPUT` for the model's.
        shape: of what it gives.
    """

    index: int
    name: str
    module: nn.Module | None
    kind: Kind
    ops: tuple[str, ...]
    sources: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Flow:
    """The steps of a forward pass in training mode.

    Attributes:
        steps: in order.
        outputs: the steps whose results the model returns.
        held: the steps whose results it returns or keeps.
    """

    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    held: tuple[int, ...]

    def __post_init__(self) -> None:
        readers: list[list[Step]] = [[] for _ in self.steps]
        for step in self.steps:
            for source in set(step.sources) - {THE_INPUT}:
                readers[source].append(step)
        object.__setattr__(self, "_readers", readers)

    def readers(self, step: Step) -> list[Step]:
        """The steps that read what a step gives."""
        found: list[Step] = self._readers[step.index]  # type: ignore[attr-defined]
        return found

    def only_reader(self, step: Step) -> Step | None:
        """The one step that reads what a step gives; None where several do, or the model returns it."""
        readers = self.readers(step)
        return readers[0] if len(readers) == 1 and step.index not in self.held else None

    def behind(self, step: Step) -> set[int]:
        """All steps into which goes what a step gives, however far behind."""
        found = {step.index}
        for other in self.steps[step.index :]:
            if found.intersection(other.sources):
                found.add(other.index)
        return found - {step.index}

    def source(self, step: Step) -> Step | None:
        """The one step that a step reads; None where it reads several, or the model's input."""
        known = [source for source in step.sources if source != THE_INPUT]
        return self.steps[known[0]] if len(known) == len(step.sources) == 1 else None

    def after(self, step: Step, through: Collection[str]) -> tuple[tuple[Step, ...], Step | None]:
        """Go on while there is one reader: the steps of these kinds, and the first of another; None at an end."""
        passed: list[Step] = []
        reader = self.only_reader(step)
        while reader is not None and reader.kind in through:
            passed.append(reader)
            reader = self.only_reader(reader)
        return tuple(passed), reader

    def before(self, step: Step, through: Collection[str]) -> tuple[tuple[Step, ...], Step | None]:
        """As `after`, against the direction of calls; the nearest step first."""
        passed: list[Step] = []
        source = self.source(step)
        while source is not None and source.kind in through:
            passed.append(source)
            source = self.source(source)
        return tuple(passed), source

    def layer_before(self, step: Step) -> str:
        """The name of the layer whose outputs a function takes: functions have no name."""
        _, source = self.before(step, ("reshape", "move", "dropout", "affine", "norm"))
        return step.name if source is None else source.name

    def reach_output(self, step: Step, through: Collection[str]) -> bool:
        """Whether what a step gives goes into the model's output by steps of these kinds, and nowhere else."""
        passed, reader = self.after(step, through)
        last = passed[-1] if passed else step
        return reader is None and last.index in self.outputs and not self.readers(last)


_SEEN: WeakKeyDictionary[Facts, Flow | None] = WeakKeyDictionary()


def flow(facts: Facts) -> Flow | None:
    """The steps of the model on a few samples; None where it cannot be traced."""
    if facts not in _SEEN:
        graph = _graph(facts)
        _SEEN[facts] = None if graph is None else flow_of(facts.subject.model, graph)
    return _SEEN[facts]


def _graph(facts: Facts) -> Graph | None:
    """In training mode, where attention is not one operator, and dropout is seen; else as the facts have it."""
    inputs = facts.subject.inputs
    if inputs is None:
        return facts.graph
    try:
        few = inputs[:_ROWS] if isinstance(inputs, Tensor) else inputs
        return trace(facts.subject.model, few, training=True, who="diagnose")
    except ArgumentError:
        return facts.graph


def flow_of(model: nn.Module, graph: Graph) -> Flow:
    """The steps of a traced pass."""
    return _Reading(model, graph).flow()


class _Reading:
    """Goes through a graph once; `made` has for each value the step that made it, or wrote into it last."""

    def __init__(self, model: nn.Module, graph: Graph) -> None:
        self._graph = graph
        self._modules = dict(model.named_modules())
        self._steps: list[Step] = []
        self._random: set[int] = set()
        self._made: dict[int, int] = dict.fromkeys(graph.calls[0].inputs, THE_INPUT)

    def flow(self) -> Flow:
        for place in self._places():
            if isinstance(place, Call):
                self._call(place)
            else:
                self._op(place)
        return Flow(
            tuple(self._steps), self._ends(self._graph.calls[0].outputs), self._ends(self._graph.outputs)
        )

    def _ends(self, values: Iterable[int]) -> tuple[int, ...]:
        return tuple(self._made[value] for value in values if self._made.get(value, THE_INPUT) != THE_INPUT)

    def _places(self) -> list[Call | Op]:
        """Calls of closed layers, and the operators outside of them, as they came."""
        closed = [call for call in self._graph.calls if _closed(self._modules[call.module])]
        inside: set[int] = {index for call in closed for index in range(call.begin, call.end)}
        keyed: list[tuple[tuple[int, int, int], Call | Op]] = [((c.begin, 0, c.index), c) for c in closed]
        keyed += [((op.index, 1, 0), op) for op in self._graph.ops if op.index not in inside]
        return [place for _, place in sorted(keyed, key=lambda pair: pair[0])]

    def _call(self, call: Call) -> None:
        ops = self._graph.ops[call.begin : call.end]
        read = (*call.inputs, *(value for op in ops for value in op.inputs))
        written = (*call.outputs, *(value for op in ops for value in op.writes if value in self._made))
        module = self._modules[call.module]
        self._add(call.module, module, _kind_of_layer(module, ops), ops, read, written)

    def _op(self, op: Op) -> None:
        name = _short(op)
        if name in _FRESH or not any(value in self._made for value in op.inputs):
            if "bernoulli" in name or self._random.intersection(op.inputs):
                self._random.update(op.outputs)
            return
        kind = _KINDS.get(name, "other")
        results = [value for value in op.inputs if value in self._made]
        if kind == "add" and len(results) == 1:
            kind = "affine"
        elif kind in ("affine", "linear") and len(results) > 1:
            kind = "other"
        elif kind == "affine" and self._random.intersection(op.inputs):
            kind = "dropout"
        within = self._graph.calls[op.call].module if op.call >= 0 else ""
        self._add(within, None, kind, (op,), op.inputs, (*op.outputs, *op.writes))

    def _add(
        self,
        name: str,
        module: nn.Module | None,
        kind: Kind,
        ops: Iterable[Op],
        read: Iterable[int],
        written: Iterable[int],
    ) -> None:
        sources = tuple(dict.fromkeys(self._made[value] for value in read if value in self._made))
        written = tuple(written)
        shape = self._graph.values[written[0]].shape if written else ()
        index = len(self._steps)
        self._steps.append(Step(index, name, module, kind, tuple(map(_short, ops)), sources, shape))
        self._made.update(dict.fromkeys(written, index))


def _short(op: Op) -> str:
    """``aten.relu_.default`` → relu."""
    name = op.name.split(".")[1]
    return name if name.startswith("__") else name.rstrip("_")


def _closed(module: nn.Module) -> bool:
    """Whether a layer is one step, whatever runs in it."""
    whole = isinstance(module, (*WEIGHTED, nn.MultiheadAttention)) and not isinstance(module, Normalized)
    return whole or next(module.children(), None) is None


def _kind_of_layer(module: nn.Module, ops: Iterable[Op]) -> Kind:
    if isinstance(module, WEIGHTED):
        return "linear"
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return "dropout" if module.p else "reshape"
    if is_norm(module):
        return "other" if holds_activation(module) else "norm"
    kinds = {_KINDS.get(_short(op), "other") for op in ops} - {"reshape"}
    only: Any = next(iter(kinds), "reshape")
    return "other" if len(kinds) > 1 else only


def holds_activation(norm: nn.Module) -> bool:
    """Whether a normalization is an activation as well."""
    named = type(norm).__name__
    return isinstance(norm, OWN_ACTIVATION) or "NormAct" in named or named.startswith(("DynamicTanh", "DyT"))


def norms_of(facts: Facts, *kinds: str) -> Iterator[Step]:
    """The steps that are norms of the model, of these kinds, or of any where none is named."""
    known = {state.name for state in facts.norms if not kinds or state.kind in kinds}
    found = flow(facts)
    if found is not None:
        yield from (step for step in found.steps if step.kind == "norm" and step.name in known)
