"""Modules whose owner reads their parameters by itself, and does not call them: torch's attention and its fast path."""

from __future__ import annotations

from typing import Any

from torch import nn

_READ = ("self_attn", "linear1", "linear2", "norm1", "norm2")


def read_by_owner(modules: dict[str, nn.Module]) -> dict[int, str]:
    """Modules that are read and not called, always or in evaluation, by id, with the reason to leave them alone.

    What another module in such a place computes is not seen; what it lacks, eps say, raises. One of the same
    operation, with parameters and attributes of the same names, may take the place.

    >>> layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    >>> read_by_owner(dict(layer.named_modules()))[id(layer.norm1)]
    "torch's fast path in the model reads it in evaluation, and does not call it"
    """
    found: dict[int, str] = {}
    for name, module in modules.items():
        owner = f"`{name}`" if name else "the model"
        if isinstance(module, nn.MultiheadAttention) and _runs(module, nn.MultiheadAttention):
            inner = module._modules.get("out_proj")
            found.setdefault(id(inner), f"{owner} reads its weights, and does not call it")
        elif isinstance(module, nn.TransformerEncoderLayer) and _has_fast_path(module):
            reason = f"torch's fast path in {owner} reads it in evaluation, and does not call it"
            found.update((id(module._modules.get(each)), reason) for each in _READ)
    return found


def _has_fast_path(layer: nn.TransformerEncoderLayer) -> bool:
    """Whether torch may take its fast path with some input: it asks for these before it reads the norms."""
    attention: Any = layer._modules.get("self_attn")
    asked = ("batch_first", "_qkv_same_embed_dim")
    return (
        _runs(layer, nn.TransformerEncoderLayer)
        and all(getattr(attention, name, False) for name in asked)
        and getattr(attention, "in_proj_bias", None) is not None
        and bool(layer.activation_relu_or_gelu)
    )


def _runs(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether the forward pass is this class's own, or one around it."""
    forward: Any = vars(module).get("forward", type(module).forward)
    code: Any = getattr(getattr(forward, "__func__", forward), "__code__", None)
    # `super()` makes a method close over `__class__`; what is no Python function may do anything.
    return forward is kind.forward or code is None or "__class__" in code.co_freevars
