"""Batch normalization put behind layers again, the identity at first, for further training."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torch import nn

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.graph import trace
from normwise.layers.normalized import NORMALIZED
from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._fold_apply import RECORD
from normwise.surgery._fold_check import Check, DisagreementError, RoundingError
from normwise.surgery._fold_flow import Flow
from normwise.surgery._fold_known import HOLDING, extras, layer_axis, layer_meaning, looks_linear
from normwise.surgery._moments import Moments, measure
from normwise.surgery._survey import Survey, check_model
from normwise.surgery._twins import describe
from normwise.surgery._unfold_places import Place, find, put


def unfold(
    model: nn.Module,
    example: Any,
    names: Iterable[str] | None = None,
    *,
    data: Iterable[Any] | None = None,
    inplace: bool = False,
) -> tuple[nn.Module, Edits]:
    """Put a batch normalization behind layers, which changes no output in evaluation, for further training.

    Where `fold` had taken a norm into a layer, the new one stands at that norm's place, under its name, also in a copy
    or a pickle of the folded model; elsewhere inside the layer, as its ``norm``, so that no name changes. Eps and
    momentum are those of the folded norm. With `data` the running statistics are those of what comes there, pooled over
    all batches, ``weight = sqrt(running_var + eps)`` and ``bias = running_mean``, so that in training, too, it begins
    near the identity; without, they are 0 and 1, the bias is 0 and the weight ``sqrt(1 + eps)``, and the first batch in
    training changes the outputs. The model is compared as by `fold`.

    Args:
        model: any module.
        example: a batch as the model takes it: a tensor, a tuple of arguments, or a dict of named ones.
        names: of linear layers and convolutions; None for all into which `fold` took a norm behind them.
        data: batches like `example`, to measure the statistics on.
        inplace: change this model, instead of a copy of its structure; only after the comparison.

    Returns:
        The model, and where there are norms now.

    Raises:
        ArgumentError: (a ValueError) the model does not run on the example, a named module is no layer that is
            known, or the channels of what it gives are not on the axis of a batch normalization; `data` is empty.
        UnknownNameError: (a LookupError) no module has a name.

    >>> import torch
    >>> from normwise.surgery import fold
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> x = torch.randn(2, 3, 8, 8)
    >>> unfold(fold(model, x)[0], x)[0]
    Sequential(
      (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (2): ReLU()
    )
    """
    check_model("unfold", model)
    places = _places(model, example, names)
    check = Check("unfold", model, example)
    empty: dict[str, Moments] = {}
    work = put(copied(model, "unfold") if not inplace else _shared_twin(model), places, empty)
    _prove(work, places, example)
    statistics = empty if data is None else measure(work, [place.at for place in places], data)
    try:
        errors = check(lambda twin: put(twin, places, statistics)) if places else {}
    except (DisagreementError, RoundingError) as error:
        raise ArgumentError(
            explain(
                "unfold",
                "the model must give what it gave",
                str(error),
                "name only layers that the model calls as a whole, and does not read",
            )
        ) from error
    before = {name: describe(module) for name, module in model.named_modules()}
    result = put(model if inplace else copied(model, "unfold"), places, statistics)
    entries = []
    for place in places:
        why = f"behind {' and '.join(f'`{layer}`' if layer else 'the layer' for layer in place.layers)}"
        why += ", inside of it" if place.kind == "inside" else ""
        norm = describe(result.get_submodule(place.at))
        entries.append(Edit(place.at, before.get(place.at, ""), norm, why))
    measured = ", ".join(f"{error:.1e} in {dtype}" for dtype, error in errors.items())
    notes = (f"largest |Δ| over largest |y|: {measured}",) if errors else ()
    return result, Edits("unfold", tuple(entries), notes)


def _places(model: nn.Module, example: Any, names: Iterable[str] | None) -> list[Place]:
    """Where norms go; every layer is one that is known, and is reached by the example."""
    modules = dict(model.named_modules(remove_duplicate=False))
    if names is None:
        wanted = [
            name for name, module in model.named_modules() if looks_linear(module) and RECORD in vars(module)
        ]
    else:
        wanted = [names] if isinstance(names, str) else list(names)
    graph = trace(model, example, who="unfold")
    survey = Survey(model)
    first = {other: each for each, others in graph.names.items() for other in others}
    places: dict[str, Place] = {}
    for name in wanted:
        if name not in modules:
            raise unknown_name("unfold", "module", name, (n for n, m in modules.items() if looks_linear(m)))
        layer = modules[name]
        obstacle = survey.taken(layer) or extras(layer)
        if layer_meaning(layer, output=True) is None:
            obstacle = f"a {type(layer).__name__}"
        calls = graph.calls_of(first[name])
        if obstacle is None and not (calls and calls[0].outputs):
            obstacle = "one that the example does not reach"
        if obstacle is not None:
            must = f"`{name}` must be a linear layer or a convolution that nothing else holds or hooks"
            raise ArgumentError(explain("unfold", must, obstacle))
        axes = len(graph.values[calls[0].outputs[0]].shape)
        place = find(model, graph, first[name], axes)
        if place.kind == "inside" and type(layer) not in NORMALIZED:
            what = "one that holds a norm" if type(layer) in HOLDING else f"a {type(layer).__name__}"
            raise ArgumentError(
                explain("unfold", f"`{name}` must be a linear layer or a convolution of torch's", what)
            )
        if place.at in places:
            place = places[place.at].with_layer(first[name])
        places[place.at] = place
    return list(places.values())


def _prove(work: nn.Module, places: list[Place], example: Any) -> None:
    """Raise `ArgumentError` unless each new norm finds the channels of its layer on its axis."""
    try:
        graph = trace(work, example, who="unfold")
    except ArgumentError as error:
        shown = ", ".join(f"`{place.layers[0]}`" for place in places)
        raise _unfit(f"{error} with a norm behind {shown}") from error
    survey = Survey(work)
    flow = Flow(graph, survey)
    for place in places:
        for call in graph.calls_of(place.at):
            found = flow.source(call)
            value = graph.values[call.inputs[0]]
            if isinstance(found, str):
                raise _unfit(f"at `{place.at}` something else than a layer's output")
            source, path = found
            layer = survey.modules[source.module]
            axes = flow.axes_behind(path, layer_axis(layer, len(graph.values[path[0]].shape)))
            if isinstance(axes, str) or 1 not in axes:
                raise _unfit(f"{value.shape} behind `{place.layers[0]}`")


def _unfit(got: str) -> ArgumentError:
    return ArgumentError(
        explain(
            "unfold",
            "the channels that a layer gives must be on axis 1, where batch normalization has them",
            got,
            "name other layers",
        )
    )


def _shared_twin(model: nn.Module) -> nn.Module:
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin: nn.Module = copy.deepcopy(model, memo)
    return twin
