"""Which back end must run under each feature of the contract, and the check that it did."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch._ops import OpOverload

from normwise.kernels.cpu import library
from normwise.kernels.registry import recorded, use_backend
from normwise.testing._case import LayerCase, require

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        # feature: back end of normwise's operations on the CPU
        "twin": "cpu",
        "dtypes": "cpu",
        "autocast": "cpu",
        "layout": "cpu",
        "gradient_layout": "cpu",
        "empty": "aten",  # nothing to compute, and torch knows what to answer
        "non_contiguous": "cpu",
        "modes": "cpu",
        "inference_mode": "cpu",
        "threads": "cpu",
        "determinism": "cpu",
        "checkpoint": "cpu",
        "state_dict": "cpu",
        "deepcopy": "cpu",
        "pickle": "cpu",
        "meta": "aten",  # no values to look at
        "gradients": "cpu",
        "double_backward": "cpu",  # of the kernel's gradient, by its formula
        "forward_mode": "aten",  # torch's rules know tangents
        "vmap": "aten",
        "fx": "cpu",  # a traced layer is one node, which runs as the layer does
        "compile": "aten",  # a compiler sees torch's operators, and fuses them
        "export": "aten",
        "onnx": "none",  # what is exported is torch's alone
    }
)
"""Feature → what must run: "aten", "cpu" (native kernels where they are built, else portable ones), or "none"."""


def expected_backend(case: LayerCase, feature: str) -> str | None:
    """The back end that the case names for a feature, with "cpu" resolved; None where nothing is to be checked."""
    name = None if case.backends is None else case.backends[feature]
    if name != "cpu":
        return name
    if library.native() is not None:
        return "native"
    return "aten" if library.portable() is None else "portable"


@contextlib.contextmanager
def runs(case: LayerCase, feature: str) -> Iterator[None]:
    """Raise `AssertionError` unless all operations of normwise in the block ran on the back end of the table.

    Kernels are asked for by name, so that neither the environment nor a small input chooses other ones; where the
    table has torch's operators, the kernels may run, and must find by themselves that they cannot.
    """
    expected = expected_backend(case, feature)
    if expected is None:
        yield
        return
    with use_backend("auto" if expected in ("aten", "none") else expected), recorded() as choices:
        yield
    ran = {choice.backend for choice in choices} or {"none"}
    explained = "; ".join(sorted({str(choice) for choice in choices}))
    require(ran == {expected}, f"{expected} must run, and {' and '.join(sorted(ran))} did: {explained}")


def require_graph(case: LayerCase, feature: str, nodes: Iterable[Any]) -> None:
    """Raise `AssertionError` unless the graph is made of the operators that the table has."""
    expected = expected_backend(case, feature)
    if expected is None:
        return
    called = [node.target for node in nodes if node.op == "call_function"]
    spaces = {target.namespace for target in called if isinstance(target, OpOverload)} or {"none"}
    require(spaces == {expected}, f"the graph must hold {expected}, and holds {' and '.join(sorted(spaces))}")
