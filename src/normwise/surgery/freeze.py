"""Normalization layers whose statistics and affine maps stay as they are, and the way back."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from normwise.errors import ArgumentError, explain
from normwise.layers._tracking import Tracking
from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._fresh import own_parameters
from normwise.surgery._select import Where, selected
from normwise.surgery._sites import keeps_statistics
from normwise.surgery._stick import RECORD, Before, loosen, stick
from normwise.surgery._survey import check_model
from normwise.surgery._twins import describe


def freeze(
    model: nn.Module,
    *,
    statistics: bool = True,
    affine: bool = True,
    where: Where = None,
    inplace: bool = False,
) -> tuple[nn.Module, Edits]:
    """Let batch and instance normalizations keep their running statistics, and their weights and biases.

    A frozen layer normalizes by its running statistics in training, too, and `train` does not change that: torch's own
    layers become normwise's of the same name (the same objects, with hooks, parameters, buffers and state_dict), which
    know of it; classes derived from them, with a forward pass of their own (timm's `BatchNormAct2d`), are in evaluation
    during each of their passes; normwise's take it as `freeze_statistics`. Modes and momentum stay, and `unfreeze`
    gives back what was.

    A frozen weight or bias does not require a gradient, and has none any more, so that no optimizer moves it.

    Args:
        model: any module.
        statistics: freeze the running statistics.
        affine: freeze weights and biases of the same layers.
        where: which layers. A name stands for the module and all that is in it (``"backbone"``), and may be a pattern
            (``"layer[12].*.bn1"``); a class for its instances (``nn.BatchNorm2d``); a function gets name and module; a
            list adds up. None for all.
        inplace: change this model. Otherwise a copy, whose frozen weights and biases are parameters of its own over the
            same memory, since those of the given model go on requiring gradients.

    Returns:
        The model, and what was changed and what was left alone.

    Raises:
        ArgumentError: (a ValueError) there is no such layer, `where` selects none, or the model cannot be copied.

    >>> model, edits = freeze(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    >>> print(edits)
    freeze: 1 place changed, 0 left alone
    name  before          after                                         why
    1     nn.BatchNorm2d  nw.BatchNorm2d, statistics and affine frozen  as in evaluation, whatever train() says
    >>> unfreeze(model)[0][1]
    BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """
    model, found = _prepared("freeze", model, where, inplace, affine)
    # Before anything is changed: a parameter may be that of two layers.
    wanted = {name: {key: p.requires_grad for key, p in _affine(m).items()} for name, m in found.items()}
    edits = []
    for name, module in found.items():
        text, why = _described(module), []
        record: Before = vars(module).get(RECORD) or Before()
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
            edits.append(
                Edit(name, text, text, "it has no parameters yet: run a batch through the model first")
            )
            continue
        if statistics and keeps_statistics(module):
            frozen = getattr(module, "statistics_frozen", False)
            why.append("its statistics were frozen already" if frozen else stick(module, record))
        elif statistics:
            why.append("it keeps no running statistics")
        if affine:
            for key, parameter in _affine(module).items():
                record.requires_grad.setdefault(key, wanted[name][key])
                parameter.requires_grad_(False)
                parameter.grad = None
            if not wanted[name]:
                why.append("it has no weight and no bias")
        if record.how is not None or record.requires_grad:
            vars(module)[RECORD] = record
        edits.append(Edit(name, text, _described(module), "; ".join(why) or "no gradients"))
    return model, Edits("freeze", tuple(edits))


def unfreeze(
    model: nn.Module,
    *,
    statistics: bool = True,
    affine: bool = True,
    where: Where = None,
    inplace: bool = False,
) -> tuple[nn.Module, Edits]:
    """Undo `freeze`: layers have the class, and parameters the `requires_grad`, that they had before.

    What did not require a gradient before does not afterwards. Statistics that were frozen by a layer's own
    `freeze_statistics` are let go, too. Momentum and modes were never changed.

    Args:
        model: any module.
        statistics: let running statistics move again.
        affine: give weights and biases back what they had.
        where: which layers, as in `freeze`.
        inplace: change this model, instead of a copy as in `freeze`.

    Returns:
        The model, and what was changed and what was left alone.

    Raises:
        ArgumentError: (a ValueError) as for `freeze`.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, momentum=0.3))
    >>> frozen, _ = freeze(model)
    >>> again, edits = unfreeze(frozen)
    >>> edits["1"].after, again[1].momentum, again[1].weight.requires_grad
    ('nn.BatchNorm1d', 0.3, True)
    """
    model, found = _prepared("unfreeze", model, where, inplace, affine)
    edits = []
    for name, module in found.items():
        text, why = _described(module), []
        record: Before = vars(module).get(RECORD) or Before()
        if statistics and getattr(module, "statistics_frozen", False):
            by_hand = record.how is None and isinstance(module, Tracking)
            why.append(loosen(module, Before("option") if by_hand else record))
        if affine:
            for key, parameter in _affine(module).items():
                if key in record.requires_grad:
                    parameter.requires_grad_(record.requires_grad.pop(key))
        if record.how is None and not record.requires_grad:
            vars(module).pop(RECORD, None)
        after = _described(module)
        edits.append(
            Edit(name, text, after, "; ".join(why) or ("as it was" if after != text else "it was not frozen"))
        )
    return model, Edits("unfreeze", tuple(edits))


def _prepared(
    who: str, model: nn.Module, where: Where, inplace: bool, affine: bool
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """The model to change, and its layers in question."""
    check_model(who, model)
    parts = {id(part) for module in model.modules() for part in _parts(module)}
    found = selected(
        who,
        model,
        where,
        lambda module: isinstance(module, Tracking | _NormBase) and id(module) not in parts,
        "a batch or instance normalization",
    )
    if not found:
        got = f"a {type(model).__name__} without one"
        raise ArgumentError(explain(who, "the model must have a batch or instance normalization", got))
    if inplace:
        return model, found
    new = copied(model, who)
    modules = dict(new.named_modules())
    layers = {name: modules[name] for name in found}
    if affine:
        own_parameters(new, [p for module in layers.values() for p in _affine(module).values()])
    return new, layers


def _parts(module: nn.Module) -> list[nn.Module]:
    """Further holders of statistics and affine maps of one layer."""
    if not isinstance(module, Tracking):
        return []
    return [part for part in module.modules() if part is not module and isinstance(part, Tracking)]


def _affine(module: nn.Module) -> dict[str, nn.Parameter]:
    """Weights and biases of a layer and its parts, by name; not those of an activation that a derived class holds."""
    holders: dict[str, Any] = {"": module}
    holders |= {f"{number}.": part for number, part in enumerate(_parts(module))}
    return {
        prefix + name: parameter
        for prefix, holder in holders.items()
        for name in ("weight", "bias")
        if isinstance(parameter := holder._parameters.get(name), nn.Parameter) and not is_lazy(parameter)
    }


def _described(module: nn.Module) -> str:
    affine: list[Tensor] = list(_affine(module).values())
    what = ["statistics"] if getattr(module, "statistics_frozen", False) else []
    what += ["affine"] if affine and not any(parameter.requires_grad for parameter in affine) else []
    return describe(module) + (f", {' and '.join(what)} frozen" if what else "")
