"""What a model returned, as scores (N, K): found where that is beyond doubt, explained where it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_VIEWS = (
    "View",
    "Squeeze",
    "Unsqueeze",
    "Reshape",
    "Alias",
    "Clone",
    "Select",
    "Slice",
    "ToCopy",
    "Mean",
    "T",
)
_ENDS = {
    "Sigmoid": "a sigmoid",
    "HardsigmoidBackward": "a sigmoid",
    "LogSoftmax": "a log-softmax",
    "LogSigmoid": "a log-sigmoid",
    "Softmax": "a softmax",
    "Relu": "a ReLU",
    "Tanh": "a tanh",
}


class NoScoresError(Exception):
    """The output has no scores (N, K), or more than one part could be them."""


def scores_in(output: Any, rows: int, widths: tuple[int, ...]) -> Tensor:
    """The tensor of an output that holds `rows` × one of `widths` values.

    A tensor stands for itself. Of a tuple, list, dictionary or dataclass it is what is called `logits`, else the
    only part of the right size.

    Raises:
        NoScoresError: there is none, or there are several.
    """
    if isinstance(output, Tensor):
        return output
    parts = _parts(output)
    if parts is None:
        raise NoScoresError(f"a {type(output).__name__}")
    logits = parts.get("logits")
    if isinstance(logits, Tensor):
        return logits
    fitting = [p for p in parts.values() if isinstance(p, Tensor) and _fits(p, rows, widths)]
    if len({id(p) for p in fitting}) == 1:
        return fitting[0]
    raise NoScoresError(_described(output, parts))


def _parts(output: Any) -> dict[str, Any] | None:
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items()}
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, tuple | list):
        names = getattr(output, "_fields", None) or [str(i) for i in range(len(output))]
        return dict(zip(names, output, strict=True))
    return {"logits": output.logits} if isinstance(getattr(output, "logits", None), Tensor) else None


def _fits(tensor: Tensor, rows: int, widths: tuple[int, ...]) -> bool:
    floating = tensor.is_floating_point() and tensor.dim() >= 1
    return floating and len(tensor) == rows and tensor.numel() in [rows * width for width in widths]


def _described(output: Any, parts: Mapping[str, Any]) -> str:
    named = not (isinstance(output, tuple | list) and not hasattr(output, "_fields"))
    kind = "dictionary" if isinstance(output, Mapping) else type(output).__name__
    shown = [
        (f"{name}: " if named else "")
        + (f"{tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__)
        for name, part in parts.items()
    ]
    return (
        f"a {kind} of {', '.join(shown[:6])}" + (" …" if len(shown) > 6 else "")
        if shown
        else f"an empty {kind}"
    )


def last_function(scores: Tensor) -> str | None:
    """The activation that a model ends in, in words, read off the graph; None where it ends in none of them."""
    node = scores.grad_fn
    while node is not None:
        name = node.name().removesuffix("0").removesuffix("Backward")
        end = next((words for start, words in _ENDS.items() if name.startswith(start)), None)
        if end is not None:
            return end
        if not name.startswith(_VIEWS) or not node.next_functions:
            return None
        node = node.next_functions[0][0]
    return None
