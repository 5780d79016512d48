"""Inserted norms as lines of Python that put the same ones into a model's source."""

from __future__ import annotations

import inspect
import json
import keyword
from typing import Any

import torch
from torch import Tensor, nn

from normwise.layers.normalized import Normalized


def lines_for(title: str, before: nn.Module, after: nn.Module, changed: Any) -> list[str]:
    """What to write into the source of a model; it runs where the model is called `self`, or `model`.

    Args:
        title: of the model, "net.py:Net".
        before: the model without the norms.
        after: the model with them.
        changed: the edits of `insert`.
    """
    names = [edit.name for edit in changed]
    inside = title.rpartition(":")[2] == type(before).__name__ and "" not in names
    root = "self" if inside else "model"
    lines = ["import normwise as nw"]
    if any(not _is_float32(_norm(after, name)) for name in names):
        lines.append("import torch")
    lines += ["from torch import nn", ""]
    lines.append("# at the end of __init__" if inside else "# behind what builds the model")
    for name in names:
        place, now = written_path(root, before, name), after.get_submodule(name)
        had = before.get_submodule(name)._parameters.get("bias") is not None
        if isinstance(now, Normalized) and had and now._parameters["bias"] is None:
            lines.append(f"{place}.bias = None  # the norm cancels it")
        lines.append(f"{place} = nn.Sequential({place}, {written_norm(_norm(after, name))})")
    return lines


def written_path(root: str, model: nn.Module, name: str) -> str:
    """A submodule as an expression that can be read and assigned to.

    >>> model = nn.ModuleDict({"a-b": nn.Sequential(nn.ReLU())})
    >>> written_path("self", model, "a-b.0")
    'self["a-b"][0]'
    """
    text, module = root, model
    for part in name.split(".") if name else ():
        owner: Any = module
        module = owner._modules[part]
        if part.isidentifier() and not keyword.iskeyword(part) and not part.startswith("__"):
            text += f".{part}"
        elif isinstance(owner, nn.Sequential | nn.ModuleList):
            text += f"[{list(owner._modules).index(part)}]"
        elif isinstance(owner, nn.ModuleDict):
            text += f"[{quoted(part)}]"
        else:
            text += f"._modules[{quoted(part)}]"
    return text


def written_norm(norm: nn.Module) -> str:
    """A norm's constructor, with what differs from its defaults.

    >>> import normwise as nw
    >>> written_norm(nw.GhostBatchNorm1d(8, ghost_size=4, bias=False))
    'nw.GhostBatchNorm1d(8, ghost_size=4, bias=False)'
    >>> written_norm(nw.GroupNorm(4, 8).double())
    'nw.GroupNorm(4, 8).to(torch.float64)'
    """
    given = []
    for parameter in inspect.signature(type(norm)).parameters.values():
        if parameter.name in ("device", "dtype"):
            continue
        value = getattr(norm, parameter.name)
        if parameter.name == "bias":
            value = value is not None
        elif isinstance(value, Tensor):
            value = value.item()
        if parameter.default is parameter.empty:
            given.append(repr(value))
        elif value != parameter.default:
            given.append(f"{parameter.name}={value!r}")
    made = f"nw.{type(norm).__name__}({', '.join(given)})"
    return made if _is_float32(norm) else f"{made}.to({_dtype(norm)})"


def quoted(text: str) -> str:
    """A string as Python has it, in double quotes.

    >>> print(quoted("net.py"))
    "net.py"
    """
    return json.dumps(text, ensure_ascii=False)


def _norm(after: nn.Module, name: str) -> nn.Module:
    return after.get_submodule(f"{name}.norm" if name else "norm")


def _dtype(norm: nn.Module) -> torch.dtype:
    found = [tensor.dtype for tensor in (*norm.parameters(), *norm.buffers()) if tensor.is_floating_point()]
    return found[0] if found else torch.float32


def _is_float32(norm: nn.Module) -> bool:
    return _dtype(norm) is torch.float32
