"""A normalization put into a model that exists."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.graph import Graph, trace
from normwise.graph.trace import why_not_copied
from normwise.layers.normalized import NORMALIZED, normalized
from normwise.results.edits import Edit, Edits
from normwise.surgery._batches import Forward
from normwise.surgery._copy import copied
from normwise.surgery._insert_norms import norm_for, parsed
from normwise.surgery._insert_places import Place, activation_behind, is_output, normalized_already, why_not
from normwise.surgery._insert_start import (
    calibrated,
    check_identity,
    check_statistics,
    norm_at,
    passes,
    started,
)
from normwise.surgery._runs import check_runs
from normwise.surgery._survey import Survey, check_model
from normwise.surgery._twins import describe

WHERE = ("before", "after")

UNTOLD = (
    "an optimizer made before does not know the new parameters: make it anew, or give them to add_param_group"
)


def insert(
    model: nn.Module,
    kind: str,
    example: Any,
    *,
    where: str = "before",
    only: str | Sequence[str] = "*",
    output: bool = False,
    identity: bool = False,
    data: Iterable[Any] | None = None,
    forward: Forward | None = None,
    batches: int | None = None,
    inplace: bool = False,
) -> tuple[nn.Module, Edits]:
    """Normalize the outputs of a model's linear layers and convolutions, before or after their activations.

    What gets a norm: every layer of torch's classes whose outputs no norm takes yet, but for the model's last ones. A
    layer stays the object that it was, under the same name, with its weight, and holds the norm as a child `norm`, so
    that an optimizer and a checkpoint of before go on working for all that was there. A bias that the norm would cancel
    is dropped (of kinds that subtract each channel's mean). With ``where="after"`` the norm stands behind the
    activation module that takes the layer's outputs.

    Left alone, with the reason in the record: layers that are called more than once (one norm would mix what differs),
    whose outputs have a form that the kind cannot take, whose weight something else reads as well; subclasses,
    parametrized and hooked ones; with ``where="after"`` layers whose activation is called as a function.

    Args:
        model: any module that runs on the example; the graph is that of this run.
        kind: a name of `normwise list norms`, such as "batch", "layer", "group:8", "rms".
        example: a batch of inputs: a tensor, a tuple of arguments, or a dict of named ones; two samples or more for
            kinds that read the batch.
        where: "before" or "after" the activation.
        only: a pattern of names, as of files, or several, of the layers that may get a norm.
        output: normalize the last layers as well.
        identity: start as the identity in evaluation: the norm's running statistics are those of the data, else of the
            example, its weight and bias what takes them back. Of kinds that keep running statistics alone.
        data: a loader or a list of batches, as `recalibrate` takes them, whose pooled moments the running statistics
            of the new norms become, one norm after the other in the order of calls (a pass over the data for each;
            with `identity` one for all). Of kinds that keep running statistics alone.
        forward: how the model is called with a batch of `data`; None gives it the first of several things.
        batches: at most so many of `data`.
        inplace: change this model, instead of a copy of it (parameters are shared with a copy, but for dropped biases).

    Returns:
        The model, and what was inserted and what was left alone.

    Raises:
        UnknownNameError: no such kind or place.
        ArgumentError: (a ValueError) the model cannot be traced on the example, no layer can take the kind, or the
            model with it does not run.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> new, edits = insert(model, "batch", torch.randn(16, 4))
    >>> print(edits)
    insert: 1 place changed, 1 left alone
    name  before     after                    why
    0     nn.Linear  nn.Linear → BatchNorm1d  before the activation; its bias is dropped, which the norm cancels
    2     nn.Linear  left alone               it gives the model's outputs
    note: an optimizer made before does not know the new parameters: make it anew, or give them to add_param_group
    """
    check_model("insert", model)
    if where not in WHERE:
        raise unknown_name("insert", "place", where, WHERE)
    if batches is not None and batches < 1:
        raise ArgumentError(explain("insert", "`batches` must be at least 1", f"{batches}"))
    parsed(kind)
    only = (only,) if isinstance(only, str) else tuple(only)
    graph = trace(model if where == "before" else _out_of_place(model), example, who="insert")
    work = model if inplace else copied(model, "insert")
    places, entries = _planned(work, graph, kind, where, only, output)
    if not places:
        raise ArgumentError(
            explain(
                "insert",
                f"a layer must be there that can take {kind!r}",
                Edits("insert", tuple(entries)).reasons or "a model without such layers",
            )
        )
    trial = copy.deepcopy(work)
    _apply(trial, places)
    if identity or data is not None:
        check_statistics(trial, places, identity=identity)
    start: dict[str, dict[str, Tensor]] = {}
    hint = "name the layers that are to be normalized in `only`, or another kind"
    check_runs("insert", trial, example, how="with its norms", hint=hint)
    if identity:
        start = started(model, trial, places, passes(example, data, forward, batches))
        check_identity(model, trial, example)
    elif data is not None:
        start = calibrated(trial, places, data, forward, batches)
    _apply(work, places)
    for name, state in start.items():
        norm_at(work, name).load_state_dict(state)
    return work, Edits("insert", tuple(entries), (UNTOLD,))


def _out_of_place(model: nn.Module) -> nn.Module:
    """A copy whose activations leave their inputs as they are, so that it shows who reads what."""
    obstacle = why_not_copied(model)
    if obstacle is not None:
        raise ArgumentError(explain("insert", "the model must be one that `copy.deepcopy` copies", *obstacle))
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if type(module).__module__ == "torch.nn.modules.activation" and getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]  # as torch types attributes of modules
    return twin


def _planned(
    model: nn.Module, graph: Graph, kind: str, where: str, only: tuple[str, ...], output: bool
) -> tuple[list[Place], list[Edit]]:
    survey = Survey(model)
    places, entries = [], []
    for name, module in survey.modules.items():
        if type(module) not in NORMALIZED:
            continue
        calls = graph.calls_of(name)
        before = describe(module)
        reason = why_not(survey, graph, name, module, calls)
        if not any(fnmatchcase(name, pattern) for pattern in only):
            reason = reason or "it is not asked for"
        if reason is None and not output and is_output(graph, calls[0], survey):
            reason = "it gives the model's outputs"
        if reason is None:
            reason = normalized_already(survey, graph, calls[0])
        if reason is not None:
            entries.append(Edit(name, before, before, reason))
            continue
        value = graph.values[calls[0].outputs[0]]
        target = name
        if where == "after":
            target, reason = activation_behind(survey, graph, calls[0])
            if reason is not None:
                entries.append(Edit(name, before, before, reason))
                continue
            value = graph.values[graph.calls_of(target)[0].outputs[0]]
        try:
            norm, cancels = norm_for(kind, module, value.shape, value.device, value.dtype)
        except ArgumentError as error:
            why = str(error).removeprefix("insert: ").partition(". Got ")[0]
            entries.append(Edit(name, before, before, why))
            continue
        drops = cancels and where == "before" and module._parameters.get("bias") is not None
        why = f"{where} the activation" + ("; its bias is dropped, which the norm cancels" if drops else "")
        shown = describe(survey.at[target])
        places.append(Place(name, target, norm, drops))
        entries.append(Edit(target, shown, f"{shown} → {type(norm).__name__}", why))
    return places, entries


def _apply(model: nn.Module, places: Sequence[Place]) -> None:
    for place in places:
        layer = model.get_submodule(place.layer)
        norm = copy.deepcopy(place.norm).train(layer.training)
        if place.drops_bias:
            layer.register_parameter("bias", None)
        if place.target == place.layer:
            normalized(layer, norm)
        else:
            parent, _, key = place.target.rpartition(".")
            owner = model.get_submodule(parent)
            pair = nn.Sequential()
            pair.add_module("activation", owner._modules[key])
            pair.add_module("norm", norm)
            owner._modules[key] = pair.train(layer.training)
