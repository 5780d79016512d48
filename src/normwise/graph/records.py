"""What a forward pass did: values, the operators that made them, and the module calls in which these ran.

Values are numbered in the order in which they appeared. One tensor is one value, whatever was written into it: an
operator that writes is one of its `writers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Value:
    """A tensor that was seen.

    Attributes:
        index: its number.
        shape: of the tensor.
        dtype: of the tensor.
        device: of the tensor.
        channels_last: it lies channels last, and not contiguously.
        name: of the parameter or buffer that it is; "" for a result.
    """

    index: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    channels_last: bool
    name: str = ""


@dataclass(frozen=True)
class Op:
    """One operator of torch's that ran.

    Attributes:
        index: its number, in order.
        name: such as ``"aten.convolution.default"``.
        inputs: the values that it read.
        outputs: the values that it gave.
        writes: those of its inputs that it wrote into.
        call: the number of the innermost module call in which it ran; -1 outside of all.
    """

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    writes: tuple[int, ...]
    call: int


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        index: its number, in the order of the calls' beginnings.
        module: the module's first name; "" is the model.
        inputs: the values among its arguments, in order.
        outputs: the values in what it returned, in order.
        parent: the number of the call in which it was made; -1 for the model's.
        begin: number of the first operator in it.
        end: number behind the last operator in it.
    """

    index: int
    module: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parent: int
    begin: int
    end: int

    def holds(self, op: Op) -> bool:
        """Whether the operator ran in this call, or in one made by it."""
        return self.begin <= op.index < self.end


@dataclass(frozen=True)
class Graph:
    """A forward pass on an example, in full.

    Attributes:
        values: by number.
        ops: in order.
        calls: in order; the first is the model's.
        outputs: values that the model returned.
        names: every name of each module, by its first one: more than one where it stands at several places.
        training: the mode in which it was traced.
    """

    values: tuple[Value, ...]
    ops: tuple[Op, ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]
    names: dict[str, tuple[str, ...]]
    training: bool
    _readers: dict[int, tuple[int, ...]] = field(default_factory=dict, repr=False)
    _writers: dict[int, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for table, attribute in ((self._readers, "inputs"), (self._writers, "writes")):
            found: dict[int, list[int]] = {}
            for op in self.ops:
                for value in dict.fromkeys(getattr(op, attribute)):
                    found.setdefault(value, []).append(op.index)
            table.update((value, tuple(ops)) for value, ops in found.items())

    def calls_of(self, module: str) -> tuple[Call, ...]:
        """All calls of a module, by its first name."""
        return tuple(call for call in self.calls if call.module == module)

    def readers(self, value: int) -> tuple[Op, ...]:
        """The operators that read a value, writers among them."""
        return tuple(self.ops[index] for index in self._readers.get(value, ()))

    def writers(self, value: int) -> tuple[Op, ...]:
        """The operators that wrote into a value after it was made."""
        return tuple(self.ops[index] for index in self._writers.get(value, ()))

    def goes_only_into(self, value: int, call: Call) -> bool:
        """Whether nothing outside of a call reads a value, and the model does not return it.

        What a call reads of it as a view counts as read; a view taken outside counts as outside.
        """
        return value not in self.outputs and all(call.holds(op) for op in self.readers(value))

    def feeds(self, first: Call, second: Call) -> bool:
        """Whether a call returns one value, which goes into another call as its first input, and nowhere else."""
        if len(first.outputs) != 1 or not second.inputs or second.inputs[0] != first.outputs[0]:
            return False
        (value,) = first.outputs
        return all(first.holds(op) or second.holds(op) for op in self.readers(value)) and (
            value not in self.outputs and second.inputs.count(value) == 1
        )

    def uses_of(self, parameter: str) -> Iterator[tuple[Op, Call | None]]:
        """The operators that read a parameter or buffer, by its first name, each with the innermost module call."""
        for value in self.values:
            if value.name == parameter:
                for op in self.readers(value.index):
                    yield op, self.calls[op.call] if op.call >= 0 else None

    def ancestors(self, call: Call) -> Iterator[Call]:
        """The calls around a call, innermost first."""
        while call.parent >= 0:
            call = self.calls[call.parent]
            yield call
