"""A normalization put into a model that exists."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.graph import Call, Graph, trace
from normwise.graph.trace import arguments_of
from normwise.layers.normalized import NORMALIZED, Normalized, normalized
from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._insert_norms import is_norm, norm_for
from normwise.surgery._insert_places import Place, activation_behind, is_output, why_not
from normwise.surgery._runs import check_runs
from normwise.surgery._survey import Survey, check_model
from normwise.surgery._twins import describe

WHERE = ("before", "after")


def insert(
    model: nn.Module,
    kind: str,
    example: Any,
    *,
    where: str = "before",
    only: Sequence[str] = ("*",),
    output: bool = False,
    identity: bool = False,
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
        only: patterns of names, as of files, of the layers that may get a norm.
        output: normalize the last layers as well.
        identity: start as the identity in evaluation: the norm's running statistics are the example's, its weight and
            bias what takes them back. Of kinds that keep running statistics alone.
        inplace: change this model, instead of a copy of it (parameters are shared with a copy, but for dropped biases).

    Returns:
        The model, and what was inserted and what was left alone.

    Raises:
        UnknownNameError: no such kind or place.
        ArgumentError: (a ValueError) the model cannot be traced on the example, no layer can take the kind, or the
            model with it does not run.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> new, edits = insert(model, "batch", torch.randn(16, 4))
    >>> print(edits)
    insert: 1 place changed, 1 left alone
    name  before     after                    why
    0     nn.Linear  nn.Linear → BatchNorm1d  before the activation; its bias is dropped, which the norm cancels
    2     nn.Linear  left alone               it gives the model's outputs
    """
    check_model("insert", model)
    if where not in WHERE:
        raise unknown_name("insert", "place", where, WHERE)
    graph = trace(model, example, who="insert")
    work = model if inplace else copied(model, "insert")
    places, entries = _planned(work, graph, kind, where, tuple(only), output)
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
    start = _started(model, trial, places, example) if identity else {}
    hint = "name the layers that are to be normalized in `only`, or another kind"
    check_runs("insert", trial, example, how="with its norms", hint=hint)
    if identity:
        _check_identity(model, trial, example)
    _apply(work, places)
    for name, state in start.items():
        _norm_at(work, name).load_state_dict(state)
    return work, Edits("insert", tuple(entries))


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
            reason = _normalized_already(survey, graph, calls[0])
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


def _normalized_already(survey: Survey, graph: Graph, call: Call) -> str | None:
    for other in graph.calls:
        if call.outputs and other.inputs[:1] == call.outputs and is_norm(survey.at[other.module]):
            return f"`{other.module}` normalizes it already"
    return None


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


def _norm_at(model: nn.Module, target: str) -> nn.Module:
    module = model.get_submodule(target)
    norm: nn.Module = module.norm if isinstance(module, Normalized) else module.get_submodule("norm")
    return norm


def _started(
    model: nn.Module, trial: nn.Module, places: Sequence[Place], example: Any
) -> dict[str, dict[str, Tensor]]:
    """Let each norm start as the identity on the example, in evaluation; the states of the norms by their places."""
    arguments, named = arguments_of(example)
    found: dict[str, dict[str, Tensor]] = {}
    original = copy.deepcopy(model).eval()
    seen: dict[str, Tensor] = {}
    handles = [
        original.get_submodule(place.target).register_forward_hook(
            lambda _module, _inputs, output, name=place.target: seen.__setitem__(
                name, output.detach().clone()
            )
        )
        for place in places
    ]
    with torch.random.fork_rng(), torch.no_grad():
        original(*arguments, **named)
    for handle in handles:
        handle.remove()
    for place in places:
        norm = _norm_at(trial, place.target)
        _start_as_identity(norm, seen[place.target], _bias_of(original, place))
        found[place.target] = norm.state_dict()
    return found


def _bias_of(original: nn.Module, place: Place) -> Tensor | None:
    bias = original.get_submodule(place.layer)._parameters.get("bias")
    return bias.detach() if place.drops_bias and bias is not None else None


@torch.no_grad()
def _start_as_identity(norm: Any, values: Tensor, bias: Tensor | None) -> None:
    if norm._buffers.get("running_var") is None or norm.weight is None or norm.bias is None:
        raise ArgumentError(
            explain(
                "insert",
                "`identity` needs a norm with running statistics, a weight and a bias",
                type(norm).__name__,
                "use 'batch', or insert without it and train",
            )
        )
    axes = (0, *range(2, values.dim()))
    var, mean = torch.var_mean(values.double(), dim=axes, correction=0)
    norm.running_var.copy_(var)
    norm.weight.copy_(torch.sqrt(norm.running_var.double() + norm.eps))
    norm.bias.copy_(mean)
    # What the norm sees has no bias any more.
    norm.running_mean.copy_(mean if bias is None else mean - bias.double())


def _check_identity(model: nn.Module, trial: nn.Module, example: Any) -> None:
    arguments, named = arguments_of(example)
    with torch.random.fork_rng(), torch.no_grad():
        pairs = [copy.deepcopy(each).eval()(*arguments, **named) for each in (model, trial)]
    before, after = ([t for t in tree_leaves(each) if isinstance(t, Tensor)] for each in pairs)
    for one, other in zip(before, after, strict=True):
        largest = float(one.abs().max()) if one.numel() else 0.0
        apart = float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
        if not apart <= 1e-4 * max(largest, 1e-30):
            raise ArgumentError(
                explain(
                    "insert",
                    "with `identity` the outputs on the example must stay the same",
                    f"a difference of {apart:.3g} in {largest:.3g}",
                    "a channel that is constant on the example cannot be taken back; give a larger example",
                )
            )
