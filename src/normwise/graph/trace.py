"""One forward pass, watched: every operator by a dispatch mode, every module call by torch's global hooks.

Nothing is symbolic, so that any model can be traced that runs; what is seen is what happened for this example.
"""

from __future__ import annotations

import copy
import inspect
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from normwise.errors import ArgumentError, explain
from normwise.graph.records import Call, Graph, Op, Value

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def trace(model: nn.Module, example: Any, *, training: bool = False, who: str = "trace") -> Graph:
    """Run a model once on an example, and record what happened.

    The model is not touched: what runs is a copy with the same parameters and buffers of its own, random numbers are
    given back, and no gradient is recorded. Control flow that depends on values is followed as the example has it.

    Args:
        model: any module that runs.
        example: its input: a tensor, a tuple of arguments, or a dict of named ones.
        training: the mode in which it runs.
        who: the operation that asks, for messages.

    Raises:
        ArgumentError: (a ValueError) the model cannot be copied, has lazy parameters, or refuses the example.

    >>> graph = trace(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.randn(2, 3))
    >>> [call.module for call in graph.calls], graph.feeds(*graph.calls[1:])
    (['', '0', '1'], True)
    """
    twin = _twin(model, who).train(training)
    arguments, named = arguments_of(example, twin)
    watch = _Watch(twin)
    try:
        with _undisturbed(), torch.no_grad(), watch:
            twin(*arguments, **named)
    except Exception as error:
        words = _words(error)
        shapes = ", ".join(str(tuple(t.shape)) for t in tree_leaves(example) if isinstance(t, Tensor))
        where = f" (in `{watch.failed}`)" if watch.failed else ""
        raise ArgumentError(
            explain(
                who,
                "the model must run on the example",
                f"{words}{where}; the example has the shapes {shapes or 'of no tensor'}",
                "give one batch as the model takes it: a tensor, a tuple of arguments, or a dict of named ones",
            )
        ) from error
    return watch.graph(twin, training)


def arguments_of(example: Any, model: nn.Module | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments of an example; a dict is one argument where the model has no such names.

    >>> arguments_of({"x": 1}), arguments_of((1, 2)), arguments_of(1)
    (((), {'x': 1}), ((1, 2), {}), ((1,), {}))
    """
    if isinstance(example, Mapping):
        return ((), dict(example)) if model is None or _names(model, example) else ((example,), {})
    return (tuple(example), {}) if isinstance(example, tuple | list) else ((example,), {})


def run_on(model: nn.Module, example: Any) -> Any:
    """What a model gives for an example: a tensor, a tuple of arguments, or a dict."""
    arguments, named = arguments_of(example, model)
    return model(*arguments, **named)


def _names(model: nn.Module, named: Mapping[Any, Any]) -> bool:
    """Whether the forward pass takes arguments of these names."""
    try:
        inspect.signature(model.forward).bind(**named)
    except (TypeError, ValueError):
        return False
    return True


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records operators; and module calls, while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._first: dict[int, str] = {}
        self._names: dict[str, list[str]] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            self._names.setdefault(self._first.setdefault(id(module), name), []).append(name)
        self._parameters: dict[int, str] = {}
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self._parameters.setdefault(id(tensor), name)
        self._kept: list[Tensor] = []  # so that no tensor takes another one's identity
        self._values: list[Value] = []
        self._at: dict[int, int] = {}
        self._ops: list[Op] = []
        self._calls: list[Call | None] = []
        self._open: list[tuple[int, str, int, int]] = []
        self._outputs: tuple[int, ...] = ()

    def __enter__(self) -> _Watch:
        self._handles = (
            hooks.register_module_forward_pre_hook(self._begin),
            hooks.register_module_forward_hook(self._end, with_kwargs=True),
        )
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
            # torch's handle forgets this table, and torch.compile warns of global hooks ever after.
            hooks._global_forward_hooks_with_kwargs.pop(handle.id, None)

    @property
    def failed(self) -> str:
        """The innermost module that has begun and not ended."""
        return self._open[-1][1] if self._open else ""

    def graph(self, model: nn.Module, training: bool) -> Graph:
        """What was seen. A result that a module keeps in an attribute counts as returned."""
        kept = [leaf for module in model.modules() for leaf in _tensors_in(vars(module), depth=2)]
        outputs = dict.fromkeys(self._outputs)
        outputs |= {
            self._at[id(t)]: None for t in kept if id(t) in self._at and id(t) not in self._parameters
        }
        names = {first: tuple(names) for first, names in self._names.items()}
        calls = tuple(call for call in self._calls if call is not None)
        return Graph(tuple(self._values), tuple(self._ops), calls, tuple(outputs), names, training)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        inputs = self._numbers((args, kwargs))
        given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
        writes = [
            given.get(argument.name)
            for argument in func._schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        call = self._open[-1][0] if self._open else -1
        outputs = self._numbers(result)
        self._ops.append(Op(len(self._ops), str(func), inputs, outputs, self._numbers(writes), call))
        return result

    def _begin(self, module: nn.Module, arguments: Any) -> None:
        name = self._first.get(id(module))
        if name is None:
            return
        parent = self._open[-1][0] if self._open else -1
        self._open.append((len(self._calls), name, parent, len(self._ops)))
        self._calls.append(None)

    def _end(self, module: nn.Module, arguments: Any, named: dict[str, Any], output: Any) -> None:
        name = self._first.get(id(module))
        if name is None:
            return
        number, _, parent, begin = self._open.pop()
        found = self._numbers(output)
        inputs = self._numbers((arguments, named))
        self._calls[number] = Call(number, name, inputs, found, parent, begin, len(self._ops))
        if number == 0:
            self._outputs = found

    def _numbers(self, nested: Any) -> tuple[int, ...]:
        return tuple(self._number(tensor) for tensor in _tensors_in(nested))

    def _number(self, tensor: Tensor) -> int:
        known = self._at.get(id(tensor))
        if known is None:
            known = self._at[id(tensor)] = len(self._values)
            self._kept.append(tensor)
            last = _LAST.get(tensor.dim())
            channels_last = (
                tensor.layout is torch.strided
                and last is not None
                and not tensor.is_contiguous()
                and tensor.is_contiguous(memory_format=last)
            )
            name = self._parameters.get(id(tensor), "")
            self._values.append(
                Value(known, tuple(tensor.shape), tensor.dtype, tensor.device, channels_last, name)
            )
        return known


def _tensors_in(nested: Any, depth: int = 3) -> Iterator[Tensor]:
    """The tensors in lists, tuples and mappings, and in the attributes of objects that hold results."""
    for leaf in tree_leaves(nested):
        if isinstance(leaf, Tensor):
            yield leaf
        elif (
            depth
            and not isinstance(leaf, nn.Module | type)
            and isinstance(getattr(leaf, "__dict__", None), dict)
        ):
            yield from _tensors_in(vars(leaf), depth - 1)


def _twin(model: nn.Module, who: str) -> nn.Module:
    """A copy with the very parameters, and buffers of its own."""
    if any(is_lazy(parameter) for parameter in (*model.parameters(), *model.buffers())):
        raise ArgumentError(
            explain(
                who,
                "the model must have all of its parameters",
                "lazy ones",
                "run a batch through it first",
            )
        )
    memo: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    try:
        twin: nn.Module = copy.deepcopy(model, memo)
    except Exception as error:
        # Any class may have its own idea of copying, and with it its own exceptions.
        raise ArgumentError(
            explain(
                who,
                "the model must be one that `copy.deepcopy` copies",
                *(why_not_copied(model) or (_words(error), "keep a handle or a file elsewhere")),
            )
        ) from error
    return twin


def why_not_copied(model: nn.Module) -> tuple[str, str] | None:
    """The tensor for which a model cannot be copied, since it is a result that gradients go through, and the way out.

    >>> model = nn.Sequential(nn.Linear(2, 2))
    >>> why_not_copied(model) is None
    True
    >>> model[0].cache = model[0].weight * 2
    >>> why_not_copied(model)[0]
    '`0.cache`, a result with a graph of gradients, as old weight_norm, spectral_norm and pruning leave it'
    """
    for owner, module in model.named_modules():
        for name, value in (*vars(module).items(), *module._buffers.items()):
            if any(isinstance(leaf, Tensor) and not leaf.is_leaf for leaf in tree_leaves(value)):
                path = f"{owner}.{name}" if owner else name
                kind = "a result with a graph of gradients, as old weight_norm, spectral_norm and pruning leave it"
                way = "run it once in torch.no_grad(), which computes that anew, or keep the result detached"
                return f"`{path}`, {kind}", way
    return None


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Run the block without a trace of it: random states are given back, warnings are not shown."""
    state = random.getstate()
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(state)
