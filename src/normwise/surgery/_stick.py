"""Running statistics that stay whatever `train` says, in layers of torch's and in those derived from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from normwise import layers
from normwise.layers._tracking import Tracking
from normwise.surgery._sites import is_ours, is_torchs
from normwise.surgery._twins import FASTER, unlike_torch

RECORD = "_before_freeze"
_MODE = "_mode_before_pass"
_BECOMES = FASTER | {nn.SyncBatchNorm: layers.SyncBatchNorm}


@dataclass
class Before:
    """What a layer was before it was frozen; it goes along with copies and pickles.

    Attributes:
        how: "option", "class" or "hooks", by which the statistics were frozen; None where they were not.
        kind: the class that it had.
        became: the class that it got.
        requires_grad: of parameters by name.
    """

    how: str | None = None
    kind: type[nn.Module] | None = None
    became: type[nn.Module] | None = None
    requires_grad: dict[str, bool] = field(default_factory=dict)


def stick(module: nn.Module, before: Before) -> str:
    """Freeze a layer's statistics; what was done for it, in words.

    normwise's layers have an option; torch's own become normwise's of the same name, the same objects; what is derived
    from them, with a forward pass of its own, is in evaluation during each of its passes.
    """
    layer: Any = module
    kind = _BECOMES.get(type(module))
    if is_ours(module):
        layer.freeze_statistics()
        before.how = "option"
    elif kind is not None and is_torchs(module):
        before.how, before.kind, before.became = "class", type(module), kind
        module.__class__ = kind
        # Not `set_tracking`, which would widen statistics that do not move.
        layer.single_sample, layer.biased_running_var = "raise", False
        counter = module._buffers.get("num_batches_tracked")
        if counter is not None:
            module.register_buffer("num_batches_skipped", torch.zeros_like(counter), persistent=False)
        layer.statistics_frozen = True
    else:
        before.how = "hooks"
        layer.statistics_frozen = True
        module.register_forward_pre_hook(_begin)
        # Also after an exception: otherwise the layer would stay in evaluation.
        module.register_forward_hook(_end, always_call=True)
        return f"in evaluation during its passes: {type(module).__name__} has a forward pass of its own"
    return "as in evaluation, whatever train() says"


def loosen(module: nn.Module, before: Before) -> str:
    """Undo `stick`; what was done for it, in words."""
    layer: Any = module
    how, before.how = before.how, None
    if how == "hooks":
        hooks: tuple[tuple[Any, Any], ...] = (
            (module._forward_pre_hooks, _begin),
            (module._forward_hooks, _end),
        )
        for registered, hook in hooks:
            for key in [key for key, value in registered.items() if value is hook]:
                del registered[key]
                module._forward_hooks_always_called.pop(key, None)
        del layer.statistics_frozen
        return "as it was"
    layer.freeze_statistics(False)
    if how != "class" or before.kind is None:
        return "as it was"
    kind, became = before.kind, before.became
    before.kind = before.became = None
    left = "it is another class now" if type(module) is not became else unlike_torch(module)
    if left is not None:
        return f"it stays normwise's: {left}"
    module.__class__ = kind
    for name in vars(Tracking).get("__annotations__", {}):
        vars(module).pop(name, None)
    module._buffers.pop("num_batches_skipped", None)
    module._non_persistent_buffers_set.discard("num_batches_skipped")
    return "as it was"


def _begin(module: nn.Module, args: Any) -> None:
    if module.training:
        module.training = False
        vars(module)[_MODE] = True


def _end(module: nn.Module, args: Any, output: Any) -> None:
    if vars(module).pop(_MODE, False):
        module.training = True
