"""The way back from `accelerate`: torch's layers at the places of normwise's."""

from __future__ import annotations

from torch import nn

from normwise.layers._fused import Fused
from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._survey import Survey, check_model
from normwise.surgery._twins import (
    DROPOUTS,
    FUSED,
    LINK,
    TORCHS,
    UNFUSED,
    activation_name,
    describe,
    rebuild,
    unlike_torch,
)
from normwise.surgery._vacated import Vacated


def decelerate(model: nn.Module, *, inplace: bool = False) -> tuple[nn.Module, Edits]:
    """Put torch's layers back into the places of normwise's; the inverse of `accelerate`.

    A fused layer that `accelerate` made becomes the plain norm again, and its activation and dropout return
    to the very places that they left, also in a copy or a pickle of the model, or a part of it. The drop rate
    is the fused layer's present one. Names, parameters and buffers stay, as with `accelerate`.

    Left alone, with the reason in the record: fused layers that were written by hand, or whose places were
    given to something else since; layers that torch does not have; modules with hooks.

    Args:
        model: any module.
        inplace: change this model, instead of a copy of its structure.

    Returns:
        The model, and what was changed and what was left alone.

    Raises:
        ArgumentError: (a ValueError) as for `accelerate`.

    >>> from torch import nn
    >>> from normwise.surgery import accelerate
    >>> old = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
    >>> model, edits = decelerate(accelerate(old)[0])
    >>> repr(model) == repr(old), [edit.name for edit in edits]
    (True, ['0', '1', '2'])
    """
    check_model("decelerate", model)
    model = model if inplace else copied(model, "decelerate")
    survey = Survey(model)
    places: dict[int, nn.Module] = {
        id(vars(module)[LINK]): module
        for module in survey.modules.values()
        if type(module) is nn.Identity and LINK in vars(module)
    }
    new: dict[int, nn.Module] = {}
    edits: dict[str, tuple[str, str]] = {}
    for name, module in survey.modules.items():
        kind = type(module)
        if isinstance(module, Fused):
            records = _records(module)
            identities = [places[id(record)] for record in records if id(record) in places]
            left = _left_alone(survey, module, records, identities)
            if left is None:
                new[id(module)] = rebuild(module, TORCHS.get(kind) or UNFUSED[kind])
                why = "as it was before `accelerate`"
                for record, identity in zip(records, identities, strict=True):
                    new[id(identity)] = _restored(record.module, module, identity.training)
                    edits[survey.names[id(identity)][0]] = (describe(new[id(identity)]), why)
                edits[name] = (describe(new[id(module)]), why)
            else:
                edits[name] = (describe(module), left)
        elif kind in TORCHS:
            left = survey.obstacle(module, same=True) or unlike_torch(module)
            if left is None:
                new[id(module)] = rebuild(module, TORCHS[kind])
            edits[name] = (describe(new.get(id(module), module)), left or "the same operation")
        elif kind in FUSED and kind.__module__.startswith("normwise.layers"):
            edits[name] = (describe(module), "torch has no such layer")
    at_home = {
        id(r) for module in survey.modules.values() if isinstance(module, Fused) for r in _records(module)
    }
    for name, module in survey.modules.items():
        if type(module) is nn.Identity and LINK in vars(module) and id(vars(module)[LINK]) not in at_home:
            edits[name] = (describe(module), "the fused layer that did its work is not in this model")
    entries = tuple(
        Edit(other, describe(module), *edits[name])
        for name, module in survey.modules.items()
        if name in edits
        for other in survey.names[id(module)]
    )
    return survey.replace("decelerate", new, inplace=inplace), Edits("decelerate", entries)


def _records(fused: Fused) -> tuple[Vacated, ...]:
    """What a fused layer says of the places that it vacated; nothing where it was written by hand."""
    return tuple(vars(fused).get(LINK, ()))


def _left_alone(
    survey: Survey, fused: Fused, records: tuple[Vacated, ...], identities: list[nn.Module]
) -> str | None:
    """Why a fused layer cannot be taken apart; None where it can."""
    if not records:
        return "it was not made by `accelerate`: there is no place for its activation"
    if len(identities) < len(records):
        return "a place that it had vacated is gone, or taken"
    for module in (fused, *identities):
        obstacle = survey.obstacle(module, same=True) or unlike_torch(module)
        if obstacle is not None:
            return obstacle if module is fused else f"`{survey.names[id(module)][0]}`: {obstacle}"
    names = [name for record in records if (name := activation_name(record.module)) is not None]
    if fused.activation != (names[0] if names else "none"):
        return f"its activation was changed to {fused.activation!r}"
    if fused.dropout and not any(type(record.module) in DROPOUTS for record in records):
        return "it was given a dropout, for which there is no place"
    return None


def _restored(module: nn.Module, fused: Fused, training: bool) -> nn.Module:
    """The module that stood at a vacated place, as torch's class, in the present mode and at the present rate."""
    if type(module) in DROPOUTS:
        module = rebuild(module, nn.Dropout)
        if module.p != fused.dropout:  # an integer stays one
            module.p = fused.dropout  # type: ignore[assignment]  # torch types attributes of modules as Tensor | Module
    return module.train(training)
