"""Which layers of a model become what, and which stay, each with its reason; nothing is changed yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from normwise.errors import ArgumentError, explain
from normwise.graph import Graph
from normwise.surgery._convert_build import Built, build
from normwise.surgery._convert_foreign import read_foreign, resembles
from normwise.surgery._convert_kinds import BATCH, TITLES, TRAILING, Target, kind_of
from normwise.surgery._convert_read import Reading, hindrance, read, state_hooks
from normwise.surgery._select import Where, selected
from normwise.surgery._survey import Survey
from normwise.surgery._twins import LINK


@dataclass(frozen=True, eq=False)
class Place:
    """A layer that was looked at.

    Attributes:
        module: the layer.
        reading: what it is, where it can be another.
        built: what takes its place; None where it stays.
        reason: why it stays; "" where it does not.
    """

    module: nn.Module
    reading: Reading | None
    built: Built | None
    reason: str = ""


def plan(
    survey: Survey, source: tuple[str, ...], target: Target, where: Where, graph: Graph | None
) -> dict[str, Place]:
    """Every layer of the kinds, by its first name.

    Raises:
        ArgumentError: (a ValueError) there is none, or none where it is looked for.
    """
    meant: set[int] = set()
    elsewhere: dict[str, int] = {}
    for module in survey.modules.values():
        known = kind_of(module)
        kinds = (known[0],) if known else resembles(module)
        if set(kinds) & set(source):
            meant.add(id(module))
        elif kinds:
            elsewhere[kinds[0]] = elsewhere.get(kinds[0], 0) + 1
    what = f"a layer of {' or '.join(TITLES[kind] for kind in source)}"
    if not meant:
        found = ", ".join(f"{count} of {kind!r}" for kind, count in elsewhere.items()) or "none at all"
        raise ArgumentError(
            explain("convert", f"the model must have {what}", f"other normalizations: {found}")
        )
    chosen = selected("convert", survey.model, where, lambda module: id(module) in meant, what)
    return {name: _place(survey, name, module, source, target, graph) for name, module in chosen.items()}


def _place(
    survey: Survey, name: str, module: nn.Module, source: tuple[str, ...], target: Target, graph: Graph | None
) -> Place:
    closed = survey._closed.get(id(module))
    if isinstance(module, LazyModuleMixin):
        return Place(module, None, None, "it has no shape before the first batch")
    if closed is not None:
        return Place(module, None, None, closed)
    if kind_of(module) is None:
        reading = read_foreign(module)
        if isinstance(reading, Reading) and reading.kind not in source:
            reading = f"it is {TITLES[reading.kind]}"
    else:
        reading = hindrance(module) or read(module)
    if isinstance(reading, str):
        return Place(module, None, None, reading)
    shapes = _shapes(graph, name)
    built = _already(module, reading, target) or _suited(reading, target, shapes)
    if isinstance(built, str):
        apart = ": `decelerate` takes the layer apart" if reading.finish and LINK in vars(module) else ""
        return Place(module, reading, None, built + apart)
    read_by = survey.read(module)
    if read_by is not None:
        return Place(module, reading, None, read_by)
    if state_hooks(module) and _keys(built.module) != _keys(module):
        return Place(module, reading, None, "it has hooks on its state_dict, whose keys would be others")
    if graph is not None and not shapes:
        said = (*built.said, "not called on the example")
        built = Built(built.module, built.lost, said, built.fits, built.fresh)
    return Place(module, reading, built)


def _keys(module: nn.Module) -> set[str]:
    hidden = module._non_persistent_buffers_set
    buffers = {name for name, buffer in module._buffers.items() if buffer is not None and name not in hidden}
    return buffers | {name for name, parameter in module._parameters.items() if parameter is not None}


def _shapes(graph: Graph | None, name: str) -> list[tuple[int, ...]]:
    """The shapes of a layer's inputs on the example."""
    if graph is None:
        return []
    return [graph.values[call.inputs[0]].shape for call in graph.calls_of(name) if call.inputs]


def _already(module: nn.Module, reading: Reading, target: Target) -> str | None:
    ours = type(module).__module__.startswith("normwise.layers")
    if target.kind == "masked":
        return "it takes masks already" if ours and reading.kind == "batch" else None
    if target.kind != reading.kind:
        return None
    asked = {} if target.number is None else target.numbers(reading.channels)
    same = all(getattr(module, key, None) == value for key, value in asked.items())
    return f"it is {TITLES[reading.kind]} already" if same else None


def _suited(reading: Reading, target: Target, shapes: list[tuple[int, ...]]) -> Built | str:
    """The new layer that suits the inputs, or why none does."""
    rank = _rank(reading, target, shapes)
    if isinstance(rank, str):
        return rank
    positions = _positions(reading, rank, shapes)
    built = build(reading, target, rank)
    if isinstance(built, str):
        return built
    channels = reading.channels
    if target.kind == "instance" and positions is None:
        return "whether a channel has positions is not known: give an example"
    groups: Any = getattr(built.module, "num_groups", 1)
    share = {
        "instance": positions,
        "group": channels // groups * (positions or 1),
        "layer": channels,
        "rms": channels,
    }.get(target.kind)
    if share == 1 and rank != TRAILING and built.fits:
        return "a single value would be normalized by itself"
    return built


def _rank(reading: Reading, target: Target, shapes: list[tuple[int, ...]]) -> int | str | None:
    """The rank of the new layer, or why it is not known."""
    kind = target.kind
    if reading.rank == TRAILING and kind in ("layer", "rms", "dynamic_tanh"):
        return TRAILING
    seen = {len(shape) - 2 for shape in shapes}
    if reading.rank == TRAILING:
        if not shapes:
            return "on which axis its channels lie is not known: give an example"
        if any(shape[1:] != reading.shape for shape in shapes):
            return f"its channels lie last in {shapes[0]}, and {TITLES[kind]} takes them on axis 1"
    elif reading.rank is not None:
        if any(len(shape) < reading.rank + (1 if reading.rank == 1 else 2) for shape in shapes):
            return f"its input {shapes[0]} has no axis of samples"
        if reading.kind == "instance" and reading.rank == 1 and 0 in seen:
            return f"its input {shapes[0]} has no axis of samples"
        return reading.rank
    elif kind == "group":
        return None
    ranks = {max(rank, 1) for rank in seen}
    if len(ranks) != 1 or not ranks <= {1, 2, 3}:
        if not shapes:
            return "how many axes its input has is not known: give an example"
        return f"its inputs have different or too many axes: {', '.join(map(str, dict.fromkeys(shapes)))}"
    return ranks.pop()


def _positions(reading: Reading, rank: int | None, shapes: list[tuple[int, ...]]) -> int | None:
    """The fewest positions of a channel; None where that is not known."""
    counts = []
    for shape in shapes:
        count = 1
        for extent in shape[2:]:
            count *= extent
        counts.append(count)
    if counts:
        return min(counts)
    # A layer for images has positions; (N, C) and (N, C, L) are of one rank.
    return (
        4 if rank in (2, 3) and reading.kind in (*BATCH, "instance", "layer", "rms", "dynamic_tanh") else None
    )
