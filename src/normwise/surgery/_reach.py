"""Whether a class does more with a child than to call it, as far as its source tells."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TypeGuard

from torch import nn

_ALL_CHILDREN = {"children", "named_children", "modules", "named_modules", "_modules", "get_submodule"}


def reaches_into(owner: nn.Module, child: str) -> bool:
    """Whether `forward`, or a method that it uses, does more with a child than to call it as a whole.

    Iteration, an index, a slice or an attribute of the child would show what happens between its own
    children. Torch's own classes only call theirs. Where there is no source, the answer is yes.
    """
    kind = type(owner)
    seen: set[str] = set()
    waiting = ["forward"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in vars(owner):
            return True
        # All classes that define it, because any may call `super()`.
        for base in kind.__mro__:
            if name not in vars(base) or base.__module__.startswith("torch."):
                continue
            body = _source(vars(base)[name])
            if body is None or _more_than_calls(body, child):
                return True
            # What every module has is nothing of this class.
            waiting.extend(
                node.attr
                for node in ast.walk(body)
                if _is_own(node) and hasattr(kind, node.attr) and not hasattr(nn.Module, node.attr)
            )
    return False


def _source(member: object) -> ast.AST | None:
    """The syntax of a method or property; of a plain value that of nothing, and None where it is not known."""
    member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    if not callable(member):
        return ast.Module([], [])
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(member))))
    except (OSError, TypeError, SyntaxError):
        return None


def _more_than_calls(body: ast.AST, child: str) -> bool:
    nodes = list(ast.walk(body))
    harmless = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    harmless |= {
        id(node.left)
        for node in nodes
        if isinstance(node, ast.Compare) and all(_is_none(value) for value in node.comparators)
    }
    for node in nodes:
        if _is_own(node) and (
            node.attr in _ALL_CHILDREN or (node.attr == child and id(node) not in harmless)
        ):
            return True
        if isinstance(node, ast.Name) and node.id in {"getattr", "vars"}:
            return True
    return False


def _is_own(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Whether this is an attribute of `self`."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
