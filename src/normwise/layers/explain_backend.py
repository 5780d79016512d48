"""Ask what runs for a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from normwise.kernels import registry


class Explanation(list[registry.Choice]):
    """What ran, one `Choice` an operation, in order; printed, it is a table with the reasons below.

    >>> print(Explanation([registry.Choice("dropout", (8, 4), "aten", None, {"cpu": "a reason"}, layer="2")]))
    layer  operation  input  back end
    2      dropout    8×4    aten [1]
    <BLANKLINE>
    [1] not cpu: a reason
    """

    def __repr__(self) -> str:
        if not self:
            return "none of normwise's operations ran in Python: a compiled program holds torch's operators"
        reasons: dict[str, int] = {}
        rows = [("layer", "operation", "input", "back end")]
        for choice in self:
            texts = [f"not {name}: {reason}" for name, reason in choice.refused.items()]
            notes = "".join(f" [{reasons.setdefault(text, len(reasons) + 1)}]" for text in texts)
            rows.append((choice.layer or "", choice.operation, choice.size, choice.ran + notes))
        # One layer, or a function, has no name; then there is nothing to tell apart.
        columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in zip(*columns, strict=True)
        ]
        below = [f"[{number}] {text}" for text, number in reasons.items()]
        return "\n".join([*lines, "", *below] if below else lines)

    __str__ = __repr__


def explain_backend(callable: Callable[..., Any], *inputs: Any, **options: Any) -> Explanation:
    """Call a layer, a model or a function once, and say for each of normwise's operations in it what ran, and why.

    The call runs as it would in training, under the back end in force (`use_backend`, ``NORMWISE_BACKEND``). Buffers
    stay as they are, since the call gets copies, and so do torch's random numbers. What a call writes into its inputs,
    as with ``inplace=True``, stays.

    Args:
        callable: a layer, a model, or a function of `normwise.functional`.
        inputs: what it is called with.
        options: keyword arguments of the call.

    Returns:
        A list with one `Choice` an operation, in order; printed, it is a table of what ran, and why nothing faster did.

    Raises:
        BackendError: a back end was asked for by name and cannot run.

    >>> import normwise as nw
    >>> model = nn.Sequential(nn.Linear(4, 6), nw.BatchNormAct1d(6, activation="relu"), nw.Dropout(0.1))
    >>> explain_backend(model.to("meta"), torch.ones(8, 4, device="meta"))
    layer  operation   input  back end
    1      batch_norm  8×6    aten [1]
    2      dropout     8×6    aten [1]
    <BLANKLINE>
    [1] not cpu: a tensor is on meta
    """
    model = callable if isinstance(callable, nn.Module) else None
    tensors = [leaf for leaf in tree_leaves((inputs, options)) if isinstance(leaf, Tensor)]
    tensors += [] if model is None else model.parameters()
    devices = {tensor.device.index or 0 for tensor in tensors if tensor.is_cuda}
    with torch.random.fork_rng(devices), registry.recorded() as choices:
        if model is None:
            callable(*inputs, **options)
            return Explanation(choices)
        return Explanation(_called(model, choices, inputs, options))


def _called(
    model: nn.Module, choices: list[registry.Choice], inputs: tuple[Any, ...], options: dict[str, Any]
) -> list[registry.Choice]:
    """Call a model with copies of its buffers, and name the layer of each choice."""
    layers: list[str] = []

    def note(name: str) -> Callable[..., None]:
        # The innermost module is done first: what is new at its end is its own.
        return lambda *_: layers.extend([name] * (len(choices) - len(layers)))

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    copies = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        torch.func.functional_call(model, copies, inputs, options)
    finally:
        for hook in hooks:
            hook.remove()
    return [replace(choice, layer=name or None) for choice, name in zip(choices, layers, strict=True)]
