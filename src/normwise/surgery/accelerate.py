"""Torch's layers swapped for normwise's, one by one or several for a fused one."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from normwise.results.edits import Edit, Edits
from normwise.surgery._chains import Chains
from normwise.surgery._copy import copied
from normwise.surgery._survey import Survey, check_model
from normwise.surgery._twins import FASTER, FUSED, describe, rebuild
from normwise.surgery._vacated import fuse

_KNOWN = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.dropout._DropoutNd,
    nn.Linear,
)


def accelerate(model: nn.Module, *, inplace: bool = False) -> tuple[nn.Module, Edits]:
    """Swap torch's normalization, dropout and linear layers for normwise's equal, faster ones.

    ``BatchNorm1d … 3d``, ``InstanceNorm1d … 3d``, ``LayerNorm``, ``GroupNorm``, ``RMSNorm``, ``Dropout`` and
    ``Linear`` become normwise's layers of the same name. Where an activation and a dropout provably follow a norm, and
    nothing else sees what is between them, the three become one fused layer at the norm's place, and
    `torch.nn.Identity` stands at the others, so that no name changes. That is read from the forward pass by
    symbolic tracing, in both modes; where a module cannot be traced, from those that it calls as a whole,
    each `Sequential` above all. Activations: ReLU, LeakyReLU (slope 0.01), GELU (exact), SiLU, Tanh, Sigmoid,
    as modules that are called once; what is called as a function stays where it is.

    Left alone, with the reason in the record: subclasses, modules with hooks, lazy, parametrized, quantized,
    scripted and compiled ones, and those that an attribute, a list or a closure holds beside their place. A
    module that stands at several places is swapped at all of them and never fused.

    Outputs, gradients and running statistics are those of before, in both modes, to rounding; dropout draws
    other masks of the same probability. The state_dict has the same keys in the same order, and parameters
    and buffers are the very same objects, shared with the model that was given: an optimizer made before
    keeps working, and one of the two models should be used from now on. Tools that go by a layer's exact class,
    as torch's dynamic quantization does, want `decelerate` first. A fused layer has one mode, and one
    drop rate, its `dropout`, for all that it does; set those there.

    Args:
        model: any module.
        inplace: change this model, instead of a copy of its structure.

    Returns:
        The model, and what was changed and what was left alone. `decelerate` is the way back.

    Raises:
        ArgumentError: (a ValueError) no module, a compiled or scripted one; one that cannot be copied, or
            that is itself a layer to be swapped, in place.

    >>> from torch import nn
    >>> model, edits = accelerate(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.1)))
    >>> print(edits)
    accelerate: 4 places changed, 0 left alone
    name  before          after                                              why
    0     nn.Linear       nw.Linear                                          the same operation
    1     nn.BatchNorm1d  nw.BatchNormAct1d(activation='relu', dropout=0.1)  `2` and `3` in the same pass
    2     nn.ReLU         nn.Identity                                        done by `1`
    3     nn.Dropout      nn.Identity                                        done by `1`
    """
    check_model("accelerate", model)
    model = model if inplace else copied(model, "accelerate")
    survey = Survey(model)
    chains = Chains(survey)
    new: dict[int, nn.Module] = {}
    edits: dict[str, tuple[str, str]] = {}
    for name, module in survey.modules.items():
        links = chains.links.get(name, ())
        if (not isinstance(module, _KNOWN) and type(module) not in FUSED) or id(module) in new:
            continue
        left = _left_alone(survey, module)
        reason = chains.reasons.get(name)
        if left is not None:
            edits[name] = (describe(module), left)
        elif links:
            following = [survey.at[link] for link in links]
            parts = fuse(module, FUSED[type(module)], following)
            for place, old, part in zip((name, *links), (module, *following), parts, strict=True):
                new[id(old)] = part
                edits[place] = (describe(part), f"done by `{name}`")
            edits[name] = (describe(parts[0]), f"{_listed(links)} in the same pass")
        elif type(module) in FASTER:
            new[id(module)] = rebuild(module, FASTER[type(module)])
            why = "the same operation" + (f"; not fused: {reason}" if reason else "")
            edits[name] = (describe(new[id(module)]), why)
        elif reason:
            edits[name] = (describe(module), f"not fused: {reason}")
    entries = tuple(
        Edit(other, describe(module), *edits[name])
        for name, module in survey.modules.items()
        if name in edits
        for other in survey.names[id(module)]
    )
    return survey.replace("accelerate", new, inplace=inplace), Edits("accelerate", entries, chains.notes)


def _left_alone(survey: Survey, module: nn.Module) -> str | None:
    """Why a norm or dropout stays as it is; None where it need not."""
    kind = type(module)
    if kind in FASTER or kind in FUSED:
        return survey.obstacle(module, same=True)
    if kind.__module__.startswith("normwise.layers"):
        return None
    if isinstance(module, LazyModuleMixin):
        return "it has no shape before the first batch"
    if kind is nn.SyncBatchNorm:
        return "its statistics are those of several processes"
    if kind in (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout):
        return "normwise has no faster form of it"
    return "a subclass may do more than its base"


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names)
