"""Layers under `torch.fx.symbolic_trace`: one node each, as torch's own layers are."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Proxy

from normwise.errors import ArgumentError, explain


def is_traced(input: object) -> bool:
    """Whether the input stands for a value in a trace."""
    return isinstance(input, Proxy)


def as_leaf(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    """The node that calls the module: what it does depends on its mode and its buffers, which a trace cannot hold.

    Raises:
        ArgumentError: (a ValueError, as torch's TraceError is) the layer is all that is traced.

    >>> from torch.fx import symbolic_trace
    >>> import normwise as nw
    >>> traced = symbolic_trace(nn.Sequential(nw.BatchNormAct1d(4, activation="relu")))
    >>> [node.op for node in traced.graph.nodes]
    ['placeholder', 'call_module', 'output']
    """
    given = tuple(value for value in inputs if value is not None)
    options = {name: value for name, value in named.items() if value is not None}
    tracer: Any = given[0].tracer
    path = tracer.path_of_module(module)
    if not path:
        raise ArgumentError(
            explain(
                type(module).__name__,
                "a traced layer is one node of a model, and so must lie in the model that is traced",
                "the layer alone",
                "trace nn.Sequential(layer)",
            )
        )
    return tracer.create_proxy("call_module", path, given, options)
