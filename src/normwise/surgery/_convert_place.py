"""New layers put into the places of old ones: into a copy to be tried, or for good."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from normwise.surgery._convert_build import successor
from normwise.surgery._convert_plan import Place
from normwise.surgery._convert_read import become
from normwise.surgery._convert_rebind import Rebinding

Values = dict[str, dict[str, Tensor]]
"""Of each layer that is fitted, by its name, its tensors by theirs."""


def put(model: nn.Module, places: Mapping[str, Place], values: Values) -> nn.Module:
    """Put copies of the new layers into a twin of the model, which is returned.

    Those with values have parameters of their own, the others the very ones, or such as the twin's dtype needs.
    """
    floating = {p.dtype for p in model.parameters() if p.is_floating_point()}
    for name, place in places.items():
        if place.built is None or place.reading is None:
            continue
        old = model.get_submodule(name)
        built = place.built.module
        memo: dict[int, Any] = {} if name in values else {id(p): p for p in built.parameters()}
        new = copy.deepcopy(built, memo)
        _assign(new, values.get(name, {}))
        if floating == {torch.float64}:
            new = copy.deepcopy(new).double()
        become(old, new, place.reading.carried)
    return model


def _assign(module: nn.Module, values: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for key, value in values.items():
            own = module._parameters.get(key)
            held = module._buffers.get(key) if own is None else own
            if held is not None:
                held.copy_(value)


def put_for_good(
    model: nn.Module, result: nn.Module, places: Mapping[str, Place], values: Values, *, inplace: bool
) -> Rebinding:
    """Put the new layers into the model that is given back; what became of the parameters.

    Fitted values go into the very parameters in place, and into new ones in a copy, whose model keeps its own.
    """
    before = dict(model.named_parameters())
    held = {name: place.reading.parameters for name, place in places.items() if place.reading is not None}
    modules = {name: result.get_submodule(name) for name in places}
    taken_back = []
    try:
        for name, place in places.items():
            if place.built is None or place.reading is None:
                continue
            new = place.built.module
            if name in values and not inplace:
                for key, parameter in new._parameters.items():
                    if parameter is not None:
                        new._parameters[key] = successor(parameter, values[name][key])
            taken_back.append(become(modules[name], new, place.reading.carried))
    except BaseException:
        for back in reversed(taken_back):
            back()
        raise
    for name, tensors in values.items():
        _assign(modules[name], tensors)
    return _rebinding(before, result, held, modules)


def _rebinding(
    before: dict[str, nn.Parameter],
    result: nn.Module,
    held: Mapping[str, Mapping[str, nn.Parameter]],
    modules: Mapping[str, nn.Module],
) -> Rebinding:
    found = Rebinding()
    found.names.update((id(p), (name, p)) for name, p in result.named_parameters())
    still = set(found.names)
    found.names.update((id(p), (name, p)) for name, p in before.items())
    for name, old in held.items():
        own = modules[name]._parameters
        for key, parameter in old.items():
            new = own.get(key)
            if id(parameter) not in still:
                found.successors[id(parameter)] = new
            elif new is not None and new is not parameter:
                # Another module has the old one, too, which so goes on beside the new one.
                found.added[id(new)] = (new, (id(parameter),))
        beside = [id(p) for p in (*old.values(), *own.values()) if p is not None]
        for key, new in own.items():
            if new is not None and key not in old:
                near = tuple(key for key in beside if key != id(new))
                found.added[id(new)] = (new, near or tuple(id(p) for p in before.values()))
    return found
