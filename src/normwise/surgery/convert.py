"""One normalization put into the place of another, in a model that exists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.graph import trace
from normwise.results.edits import Edit
from normwise.surgery._convert_build import described
from normwise.surgery._convert_check import check, twin
from normwise.surgery._convert_fit import Forward, fit, input_of
from normwise.surgery._convert_kinds import WHOLE, parse_source, parse_target
from normwise.surgery._convert_place import Values, put, put_for_good
from normwise.surgery._convert_plan import Place, plan
from normwise.surgery._convert_rebind import Conversion, Rebinding
from normwise.surgery._copy import copied
from normwise.surgery._select import Where
from normwise.surgery._survey import Survey, check_model
from normwise.surgery.accelerate import accelerate
from normwise.surgery.decelerate import decelerate


def convert(
    model: nn.Module,
    source: str | Sequence[str],
    target: str,
    *,
    example: Any = None,
    data: Any = None,
    forward: Forward = None,
    batches: int = 8,
    where: Where = None,
    inplace: bool = False,
) -> tuple[nn.Module, Conversion]:
    """Turn the normalizations of one kind in a model into those of another.

    Kinds are ``batch``, ``sync``, ``frozen`` (statistics), ``ghost:16``, ``batch_renorm``, ``group:8``, ``instance``,
    ``layer`` and ``rms`` (over the channels of channels-first input, else over the last axes), ``dynamic_tanh``; as a
    target also ``masked``, normwise's batch normalization, which takes `sample_weight`. New layers are normwise's;
    ``torch`` → ``normwise`` and back are `accelerate` and `decelerate`. Fused layers keep activation and dropout.

    A layer stays the object that it is, at all of its places: name, hooks, mode and what was added to it remain. Weight
    and bias are the very same parameters wherever their shapes fit. Among ``batch``, ``sync``, ``frozen``, ``ghost``,
    ``batch_renorm`` and ``masked`` running statistics are the very same buffers; evaluation and state_dict stay. eps
    and momentum are kept. What a new layer has no place for is in the record. A number of groups that is not given,
    or does not divide the channels, is chosen so that it does, and named.

    Where evaluation becomes another, the old weight and bias are no longer the right ones. With `data`, those of each
    new layer are fitted, in the order of calls, so that mean and variance of its output per channel are those of the
    old layer's output in evaluation; `alpha` by least squares, running statistics as those of the data. A layer without
    bias (``rms``) gets the variance alone. Without `data` they are copied.

    Left alone, with the reason in the record: subclasses (but those of timm, transformers, torchvision, MONAI and
    diffusers that prove, on random inputs, to compute what their base does), lazy, parametrized, quantized and scripted
    layers, those of a `TransformerEncoderLayer` that torch's fast path reads in evaluation without a call, and those
    whose input nothing suits.

    With an example, the converted model is tried on copies before anything is changed: it must run in both modes on
    the example and on random numbers like it, with finite outputs of the same shapes, and equal ones in evaluation
    among the kinds that keep it.

    Args:
        model: any module.
        source: the kind, or several, without numbers.
        target: the kind, with a number where it takes one and it is to be chosen.
        example: an input: a tensor, a tuple of arguments, or a dict of named ones; tells how many axes a layer's input
            has, where its class does not. The first batch of `data` where none is given.
        data: batches, or a loader: tensors, mappings of arguments, or pairs whose first is the input. A tensor or a
            mapping is one batch.
        forward: called as ``forward(model, batch)`` to run a batch of another form.
        batches: how many of `data` are used at most. They are kept in memory, and all are run for each layer; a single
            one is run once for all.
        where: which of them: names, patterns (``"encoder.*"``), classes, or a function of name and module.
        inplace: change this model, instead of a copy of its structure, which shares what is not fitted.

    Returns:
        The model, and what was changed and what was left alone. ``edits.rebind(optimizer)`` moves an optimizer over.

    Raises:
        UnknownNameError: (a LookupError) a kind that is not known.
        ArgumentError: (a ValueError) a number that does not fit its kind, no layer of the source, or a model that
            cannot be copied, does not run on example or data, or does not after the conversion; nothing is changed.

    Source: ``layer`` → ``rms`` Zhang & Sennrich 2019, → ``dynamic_tanh`` Zhu et al. 2025; the rest is normwise's own.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
    >>> model, edits = convert(model, "batch", "group", example=torch.randn(2, 3, 8, 8))
    >>> edits["1"].before, edits["1"].after
    ('nn.BatchNorm2d', 'nw.GroupNorm, 2 groups')
    >>> edits["1"].why
    'weight and bias copied, not fitted to data; lost: running statistics, momentum 0.1'
    """
    check_model("convert", model)
    sources, kind = parse_source(source), parse_target(target)
    used = _batches(data, batches)
    if example is None and used and forward is None:
        example = input_of(used[0])
    if kind.kind in WHOLE or set(sources) & WHOLE:
        return _whole(model, sources, kind.kind, example, where, inplace=inplace)
    graph = None if example is None else trace(model, example, who="convert")
    survey = Survey(model)
    places = plan(survey, sources, kind, where, graph)
    changing = {name: place for name, place in places.items() if place.built is not None}
    values, said = _fitted(model, changing, used, forward)
    notes: list[str] = []
    if example is not None and _is_meta(model):
        notes.append("not tried, since a model on the meta device has no values")
    elif example is not None:
        equal = not any(place.built is not None and place.built.fits for place in changing.values())

        def converted(other: nn.Module) -> nn.Module:
            return put(other, changing, values)

        notes += check(model, converted, example, equal=equal)
    names = {name: survey.names[id(place.module)] for name, place in places.items()}
    before = {name: described(place.module) for name, place in places.items()}
    result = model if inplace else copied(model, "convert")
    rebinding = put_for_good(model, result, changing, values, inplace=inplace)
    if rebinding.successors or rebinding.added:
        notes.append("an optimizer made before must be told: edits.rebind(optimizer)")
    if values:
        notes.append(f"fitted on {len(used)} batch{'' if len(used) == 1 else 'es'}")
    entries = []
    for name, place in places.items():
        after = described(result.get_submodule(name)) if place.built else before[name]
        why = place.reason or _why(place, said.get(name, ""))
        entries += [Edit(other, before[name], after, why) for other in names[name]]
    return result, Conversion.of(tuple(entries), tuple(notes), rebinding)


def _batches(data: Any, most: int) -> list[Any]:
    if most < 1:
        raise ArgumentError(explain("convert", "`batches` must be at least 1", f"{most}"))
    if data is None:
        return []
    if isinstance(data, Tensor | Mapping):
        return [data]
    if not isinstance(data, Iterable):
        raise ArgumentError(
            explain(
                "convert", "`data` must be batches or a loader", f"a {type(data).__name__}", "use [batch]"
            )
        )
    used = list(islice(data, most))
    if not used:
        raise ArgumentError(explain("convert", "`data` must have a batch", "none"))
    return used


def _fitted(
    model: nn.Module, places: dict[str, Place], batches: list[Any], forward: Forward
) -> tuple[Values, dict[str, str]]:
    """Values of the layers that are fitted, and what is to be said of each; on copies."""
    if not batches:
        return {}, {}
    if _is_meta(model):
        must = "a model must have values to be fitted to `data`"
        raise ArgumentError(explain("convert", must, "one on the meta device", "load its state first"))
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    said: dict[str, str] = {}
    free: dict[str, Place] = {}
    for name, place in places.items():
        held = place.module._parameters.values()
        if place.built is None or not place.built.fits:
            continue
        if any(parameter is not None and owners[id(parameter)] > 1 for parameter in held):
            said[name] = "weight and bias copied, since another module has them, too"
        else:
            free[name] = place
    if not free:
        return {}, said
    empty: Values = {name: {} for name in free}
    trial = put(twin(model), places, empty)
    said |= fit(twin(model), trial, free, batches, forward)
    values: Values = {}
    for name, place in free.items():
        found = _tensors(trial.get_submodule(name))
        before = {} if place.built is None else _tensors(place.built.module)
        if any(not torch.equal(found[key], value) for key, value in before.items()):
            values[name] = found
    return values, said


def _is_meta(model: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    tensors = {**module._parameters, **module._buffers}
    return {key: tensor.detach().clone() for key, tensor in tensors.items() if tensor is not None}


def _why(place: Place, fitted: str) -> str:
    built = place.built
    if built is None:
        return place.reason
    if not built.fits:
        said = ["state and evaluation are the same"]
    elif fitted:
        said = [fitted]
    else:
        held = place.reading is not None and place.reading.parameters
        said = ["weight and bias copied, not fitted to data" if held else "no weight or bias"]
    said += [text for text in built.said if not (fitted and "begin" in text)]
    return "; ".join(said + ([f"lost: {', '.join(built.lost)}"] if built.lost else []))


def _whole(
    model: nn.Module, sources: tuple[str, ...], target: str, example: Any, where: Where, *, inplace: bool
) -> tuple[nn.Module, Conversion]:
    """All of torch's layers to normwise's, or back."""
    ways: dict[tuple[tuple[str, ...], str], Callable[..., Any]] = {
        (("torch",), "normwise"): accelerate,
        (("normwise",), "torch"): decelerate,
    }
    way = ways.get((sources, target))
    if way is None or where is not None:
        got = f"{', '.join(sources)} → {target}" + (" with `where`" if where is not None else "")
        raise ArgumentError(
            explain("convert", "'torch' and 'normwise' convert into each other, and all of a model", got)
        )
    notes = [] if example is None else check(model, lambda other: way(other)[0], example, equal=True)
    result, edits = way(model, inplace=inplace)
    rebinding = Rebinding({id(p): (name, p) for name, p in model.named_parameters()})
    return result, Conversion.of(edits.entries, (*edits.notes, *notes), rebinding)
