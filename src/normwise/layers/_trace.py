"""Layers under `torch.fx.symbolic_trace`: one node each, as torch's own layers are."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Proxy


def is_traced(input: object) -> bool:
    """Whether the input stands for a value in a trace."""
    return isinstance(input, Proxy)


def as_leaf(module: nn.Module, *inputs: Any) -> Any:
    """The node that calls the module: what it does depends on its mode and its buffers, which a trace cannot hold.

    >>> from torch.fx import symbolic_trace
    >>> import normwise as nw
    >>> traced = symbolic_trace(nn.Sequential(nw.BatchNormAct1d(4, activation="relu")))
    >>> [node.op for node in traced.graph.nodes]
    ['placeholder', 'call_module', 'output']
    """
    first = next(given for given in inputs if given is not None)
    tracer: Any = first.tracer
    given = tuple(value for value in inputs if value is not None)
    return tracer.create_proxy("call_module", tracer.path_of_module(module), given, {})
