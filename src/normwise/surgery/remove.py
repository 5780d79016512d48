"""Normalization taken out of a model that exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.graph import Graph, trace
from normwise.layers._state import Normalizer
from normwise.layers.normalized import NORMALIZED, Normalized, plain
from normwise.models.activation import make_activation
from normwise.norms import kind_of_layer
from normwise.results.edits import Edit, Edits
from normwise.surgery._convert_build import described
from normwise.surgery._convert_check import twin
from normwise.surgery._convert_foreign import read_foreign
from normwise.surgery._convert_kinds import kind_of
from normwise.surgery._convert_read import Reading, become, hindrance, read
from normwise.surgery._copy import copied
from normwise.surgery._insert_norms import is_norm
from normwise.surgery._runs import check_runs
from normwise.surgery._select import Where, selected
from normwise.surgery._survey import Survey, check_model
from normwise.surgery._twins import obstacle

_WHAT = "a normalization"

_NOTES = (
    "an optimizer made before does not know the new biases: make it anew, or give them to add_param_group",
)


@dataclass(frozen=True, eq=False)
class _Place:
    """A norm that is taken out.

    Attributes:
        name: of the norm.
        reading: what it is; None for one of normwise's that `convert` does not read.
        biased: name of the layer before it, which gets a bias; None for none.
        written: what follows writes into what the norm gave, so that a copy must stand there.
    """

    name: str
    reading: Reading | None
    biased: str | None
    written: bool


class Copy(nn.Module):
    """Gives a copy of its input, for what follows to write into."""

    def forward(self, input: Tensor) -> Tensor:
        """The same values in other memory."""
        return input.clone()


def remove(
    model: nn.Module, example: Any, *, where: Where = None, inplace: bool = False
) -> tuple[nn.Module, Edits]:
    """Take the normalizations out of a model: the plain network that a comparison begins with. To be trained anew.

    Each norm becomes an `nn.Identity` under its name, or a copy where what follows works in place; a fused one becomes
    its activation and dropout; what `insert` put into a layer is gone, and the layer is of torch's class again. Where
    the norm had a bias, a linear layer or convolution without one whose outputs went into the norm alone, and which is
    called once, gets a bias of zeros in its place; the record says where nothing does.

    This is no `fold`: outputs become others. Left alone, with the reason in the record: norms whose class is not known,
    that hold an activation of their own (EvoNorm, Filter Response Normalization), or are called with a residual.

    Args:
        model: any module that runs on the example.
        example: a batch of inputs: a tensor, a tuple of arguments, or a dict of named ones.
        where: names, patterns, classes or a function that say which norms; None is all.
        inplace: change this model, instead of a copy of it, which shares its parameters.

    Returns:
        The model, and what was taken out and what was left alone.

    Raises:
        ArgumentError: (a ValueError) there is no norm that can be taken out, the model cannot be traced on the
            example, or does not run without its norms. It is as it was.

    >>> model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    >>> new, edits = remove(model, torch.randn(16, 4))
    >>> print(edits)
    remove: 1 place changed, 0 left alone
    name  before          after        why
    1     nn.BatchNorm1d  nn.Identity  its weight and bias go; `0` gets a bias
    note: an optimizer made before does not know the new biases: make it anew, or give them to add_param_group
    >>> new[0].bias is None, new[1]
    (False, Identity())
    """
    check_model("remove", model)
    graph = trace(model, example, who="remove")
    survey = Survey(model)
    chosen = selected("remove", model, where, _is_meant, _WHAT)
    chosen = {name: module for name, module in chosen.items() if ".parametrizations." not in f".{name}"}
    places: list[_Place] = []
    entries: list[Edit] = []
    for name, module in chosen.items():
        found = _planned(survey, graph, name, module)
        before = described(module)
        if isinstance(found, str):
            entries += [Edit(other, before, before, found) for other in survey.names[id(module)]]
            continue
        places.append(found)
        after = "" if _holder(model, name) is not None else described(_instead(found))
        why = _said(module, found)
        entries += [Edit(other, before, after, why) for other in survey.names[id(module)]]
    if not places:
        reasons = Edits("remove", tuple(entries)).reasons
        must = "a normalization must be there that can be taken out"
        raise ArgumentError(explain("remove", must, reasons or "a model without any"))
    hint = "leave the norms that the model cannot do without out by `where`"
    check_runs("remove", _apply(twin(model), places), example, how="without its norms", hint=hint)
    result = _apply(model if inplace else copied(model, "remove"), places)
    return result, Edits(
        "remove", tuple(entries), _NOTES if any(p.biased is not None for p in places) else ()
    )


def _said(module: nn.Module, place: _Place) -> str:
    held = [name for name, parameter in module._parameters.items() if parameter is not None]
    said = [f"its {' and '.join(held)} {'goes' if len(held) == 1 else 'go'}"] if held else []
    if place.biased is not None:
        said.append(f"`{place.biased}` gets a bias")
    elif "bias" in held:
        said.append("no bias takes the place of its own")
    if place.written:
        said.append("a copy is made for what works in place behind it")
    return "; ".join(said) or "nothing else changes"


def _is_meant(module: nn.Module) -> bool:
    """Whether a module is a norm itself, and no block or layer that holds one."""
    inner = (other for other in module.modules() if other is not module)
    return is_norm(module) and not isinstance(module, Normalized) and not any(map(is_norm, inner))


def _planned(survey: Survey, graph: Graph, name: str, module: nn.Module) -> _Place | str:
    """The place, or why the norm stays."""
    taken = survey._closed.get(id(module)) or survey.read(module)
    if taken is not None:
        return taken
    reading: Reading | str | None
    kind = kind_of_layer(type(module).__name__) if isinstance(module, Normalizer) else None
    if kind_of(module) is not None:
        reading = hindrance(module) or read(module)
    elif isinstance(module, Normalizer | nn.LocalResponseNorm):
        own_activation = kind is not None and kind.is_activation
        reading = (
            "it holds its own activation, which would go with it" if own_activation else obstacle(module)
        )
    else:
        reading = read_foreign(module)
    if isinstance(reading, str):
        return reading
    calls = graph.calls_of(name)
    if any(len(call.inputs) != 1 for call in calls):
        return "it is called with more than one tensor"
    holder = _holder(survey.model, name)
    if holder is not None and type(holder) not in NORMALIZED.values():
        return "the layer that holds it is parametrized"
    later = (
        op for call in calls for value in call.outputs for op in graph.writers(value) if not call.holds(op)
    )
    written = holder is None and any(True for _ in later)
    bias = module._parameters.get("bias") is not None
    return _Place(name, reading, _before(survey, graph, name) if bias else None, written)


def _before(survey: Survey, graph: Graph, name: str) -> str | None:
    """The layer without bias whose outputs go into the norm alone; None where there is none."""
    holder = _holder(survey.model, name)
    if holder is not None:
        return name.rpartition(".")[0] if holder._parameters.get("bias", 0) is None else None
    calls = graph.calls_of(name)
    if len(calls) != 1:
        return None
    for other in graph.calls:
        layer = survey.at[other.module]
        if (
            isinstance(layer, tuple(NORMALIZED))
            and not isinstance(layer, Normalized)
            and layer._parameters.get("bias", 0) is None
            and len(graph.calls_of(other.module)) == 1
            and graph.feeds(other, calls[0])
        ):
            return other.module
    return None


def _holder(model: nn.Module, name: str) -> Normalized | None:
    """The layer that `insert` put the norm into; None where the norm stands for itself."""
    parent, _, key = name.rpartition(".")
    owner = model.get_submodule(parent)
    return owner if isinstance(owner, Normalized) and key == "norm" else None


def _instead(place: _Place) -> nn.Module:
    """What stands in the norm's place."""
    finish = {} if place.reading is None else place.reading.finish
    activation, rate = finish.get("activation", "none"), finish.get("dropout", 0.0)
    parts = [] if activation == "none" else [make_activation(activation, "remove")]
    parts += [nn.Dropout(rate)] if rate else []
    if len(parts) < 2:
        return parts[0] if parts else Copy() if place.written else nn.Identity()
    return nn.Sequential(*parts)


def _apply(model: nn.Module, places: list[_Place]) -> nn.Module:
    for place in places:
        holder = _holder(model, place.name)
        if holder is None:
            module = model.get_submodule(place.name)
            carried = frozenset() if place.reading is None else place.reading.carried
            become(module, _instead(place).train(module.training), carried)
        else:
            plain(holder)
        if place.biased is not None:
            layer: Any = model.get_submodule(place.biased)
            width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            like = layer.weight
            bias = torch.zeros(width, dtype=like.dtype, device=like.device)
            layer.register_parameter("bias", nn.Parameter(bias, requires_grad=like.requires_grad))
    return model
