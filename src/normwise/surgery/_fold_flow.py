"""The way of a value from a layer to the norm behind it, and who else sees it."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import nn

from normwise.graph import Call, Graph, Op
from normwise.surgery._fold_known import HOLDING, looks_linear
from normwise.surgery._survey import Survey
from normwise.surgery._trace import is_watched

_SAME_ORDER = {  # another shape, or another place in memory, of the same elements in the same order
    "aten.view.default",
    "aten._unsafe_view.default",
    "aten.unsqueeze.default",
    "aten.squeeze.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.clone.default",
    "aten.alias.default",
    "aten.detach.default",
}
_OTHER_ORDER = {"aten.transpose.int", "aten.permute.default", "aten.t.default"}


class Flow:
    """Values, as far as folding asks for them.

    Args:
        graph: of a forward pass.
        survey: of the model, under the same names.
    """

    def __init__(self, graph: Graph, survey: Survey) -> None:
        self._graph = graph
        self._survey = survey
        self._layer_of: dict[int, Call] = {}
        self._maker: dict[int, Op] = {}
        self._watched: dict[int, str] = {}
        for call in graph.calls:
            module = survey.modules[call.module]
            if looks_linear(module) and len(call.outputs) == 1:
                # What a layer gives that holds a norm is the norm's output; its own goes into the norm.
                held = graph.calls_of(f"{call.module}.norm".lstrip(".")) if type(module) in HOLDING else ()
                inner = [each.inputs[0] for each in held if each.parent == call.index and each.inputs]
                self._layer_of[(inner or call.outputs)[0]] = call
            if is_watched(module):
                self._watched.update(dict.fromkeys((*call.inputs, *call.outputs), call.module))
        for op in graph.ops:
            for value in op.outputs:
                self._maker.setdefault(value, op)
        state = (*survey.model.named_parameters(), *survey.model.named_buffers())
        self._names = {id(tensor): name for name, tensor in reversed(state)}

    def source(self, call: Call) -> tuple[Call, tuple[int, ...]] | str:
        """The call of a layer whose output comes to a norm's call, through changes of shape alone, and the values.

        Where there is none, a sentence.
        """
        path = [call.inputs[0]]
        while path[0] not in self._layer_of:
            op = self._maker.get(path[0])
            if op is None or op.name not in _SAME_ORDER | _OTHER_ORDER or len(op.inputs) != 1:
                return "neither right before nor right behind it stands a convolution or a linear layer"
            path.insert(0, op.inputs[0])
        return self._layer_of[path[0]], tuple(path)

    def other_reader(self, path: tuple[int, ...], source: Call, call: Call) -> str | None:
        """Why values on the way from a layer to a norm are not the norm's alone; None where they are."""
        for value, following in zip(path, (*path[1:], None), strict=True):
            reason = self.seen_by_others(value)
            if reason is not None:
                return reason
            step = None if following is None else self._maker[following].index
            for op in self._graph.readers(value):
                inside = source.holds(op) if value == path[0] else False
                if not (inside or op.index == step or (following is None and call.holds(op))):
                    return self.reads_it(op)
        return None

    def seen_by_others(self, value: int) -> str | None:
        """Why a value must not change; None where only its readers would notice."""
        if value in self._graph.outputs:
            return "what would change is also returned, or kept, by the model"
        writers = self._graph.writers(value)
        if writers:
            return f"{_short(writers[0])} writes into what would change"
        if value in self._watched:
            return f"a hook of `{self._watched[value]}` sees what would change"
        return None

    def written(self, value: int, begin: int, end: int) -> str | None:
        """Who writes into a value between two operators, which then no longer is what it was."""
        for op in self._graph.writers(value):
            if begin <= op.index < end:
                return f"{_short(op)} writes into what goes into it before the next layer reads it"
        return None

    def reads_it(self, op: Op) -> str:
        """In words, that an operator reads what would change."""
        where = self._graph.calls[op.call].module if op.call >= 0 else ""
        return f"{_short(op)} in {f'`{where}`' if where else 'the model'} also reads what would change"

    def axes_behind(self, path: tuple[int, ...], axis: int) -> set[int] | str:
        """On which axis the channels are at the end of a way; a sentence where the example does not tell."""
        axes = {axis}
        for value, following in pairwise(path):
            old, new = self._graph.values[value].shape, self._graph.values[following].shape
            (size,) = {old[each] for each in axes}
            if self._maker[following].name in _SAME_ORDER:
                behind = {prod(old[each + 1 :]) for each in axes}
                axes = {each for each, n in enumerate(new) if n == size and prod(new[each + 1 :]) in behind}
            else:
                axes = {each for each, n in enumerate(new) if n == size}
                if len(axes) > 1:
                    return (
                        f"its input is transposed, and of {old} the example does not tell which axis goes "
                        "where: give one whose sizes differ"
                    )
            if not axes:
                return "a change of shape before it takes its channels apart"
        return axes

    def call_around(self, op: Op, value: int) -> Call | None:
        """The innermost call that was given a value and made this operator run."""
        if op.call < 0:
            return None
        call = self._graph.calls[op.call]
        for each in (call, *self._graph.ancestors(call)):
            if value in each.inputs:
                return each
        return None

    def foreign_use(self, module: nn.Module) -> str | None:
        """Which other module computes with a parameter or buffer of this one; None where none does."""
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None:
                continue
            for op, call in self._graph.uses_of(self._names[id(tensor)]):
                where = "" if call is None else call.module
                user = self._survey.modules[where]
                own = any(tensor is each for each in (*user._parameters.values(), *user._buffers.values()))
                # Torch's own layers compute with what they hold themselves, also where another one holds it, too.
                simple = looks_linear(user) or isinstance(user, nn.Embedding)
                if user is not module and not (own and simple and type(user).__module__.startswith("torch.")):
                    return f"its `{key}` is also read by {_short(op)} in {f'`{where}`' if where else 'the model'}"
        return None


def _short(op: Op) -> str:
    return op.name.removeprefix("aten.").split(".")[0]
