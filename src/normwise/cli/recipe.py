"""How to load what a command wrote, as lines of Python that run; tried before they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from normwise.cli.model_file import Subject, load_weights
from normwise.cli.snippet import quoted
from normwise.models.user_guard import stdout_to_stderr

Make = Callable[[nn.Module], nn.Module]


def recipe(subject: Subject, call: Sequence[str], out: Path | None, weights: Path | None = None) -> list[str]:
    """Lines that build a model, change it, and load weights into it.

    Args:
        subject: the model before.
        call: what changes `model`.
        out: the weights to load in the end, if any.
        weights: those to load before the change, if any.
    """
    files = [file for file in (weights, out) if file is not None]
    safe = any(file.suffix == ".safetensors" for file in files)
    given = f", {subject.arguments!r}" if subject.arguments else ""
    lines = ["import normwise as nw", "import torch", "from normwise.models import load_user_model"]
    lines += ["from safetensors.torch import load_model"] * safe
    lines += [
        "",
        f"model = load_user_model({quoted(subject.where)}{given}).plain({subject.size[1:]}, {subject.outputs})",
    ]
    if subject.lazy:
        lines.append(f"model.eval()({batch(subject)})")
    if weights is not None:
        lines.append(_loading(weights))
    lines += call
    if out is not None:
        lines.append(_loading(out))
    return lines


def batch(subject: Subject, *, same: bool = False) -> str:
    """A batch like the example; the very same one, if asked for."""
    generator = ", generator=torch.Generator().manual_seed(0)" if same else ""
    return f"torch.randn({', '.join(map(str, subject.size))}{generator})"


def call(function: str, *given: str | None) -> str:
    """A call of an operation, without the arguments that are None."""
    return f"model, edits = nw.{function}({', '.join(text for text in given if text is not None)})"


def holds(subject: Subject, new: nn.Module, make: Make, weights: Path | None = None) -> bool:
    """Whether the recipe gives the model: the changed model of fresh weights takes the new ones, and does the same.

    Args:
        subject: the model before.
        new: the changed model, in evaluation.
        make: what changes a model.
        weights: what the model is to hold before the change; None keeps fresh ones.
    """
    try:
        with stdout_to_stderr(), torch.no_grad():
            fresh = subject.again()
            if weights is not None:
                load_weights("", subject.title, fresh, weights)
            with torch.enable_grad():
                again = make(fresh)
            again.load_state_dict(new.state_dict())
            one, other = (_tensors(model.eval()(subject.example)) for model in (new, again))
    except Exception:
        # Whatever the user's code, or a fold of weights that are no good, raises.
        return False
    pairs = list(zip(one, other, strict=False))
    return len(one) == len(other) and all(_alike(a, b) for a, b in pairs)


def patterns_of(names: Sequence[str]) -> str:
    """A tuple of strings.

    >>> patterns_of(["f.*"])
    '("f.*",)'
    """
    return f"({', '.join(map(quoted, names))}{',' * (len(names) == 1)})"


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _loading(file: Path) -> str:
    if file.suffix == ".safetensors":
        return f"load_model(model, {quoted(str(file))})"
    return f"model.load_state_dict(torch.load({quoted(str(file))}))"
