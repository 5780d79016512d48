"""The contract that every layer is held to, feature by feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from normwise.errors import unknown_name
from normwise.testing import _gradients, _lifecycle, _outputs, _tracing
from normwise.testing._case import LayerCase

_CHECKS: Mapping[str, Callable[[LayerCase], None]] = MappingProxyType(
    {
        "twin": _outputs.twin,
        "dtypes": _outputs.dtypes,
        "autocast": _outputs.autocast,
        "layout": _outputs.layout,
        "empty": _outputs.empty,
        "non_contiguous": _outputs.non_contiguous,
        "modes": _outputs.modes,
        "state_dict": _lifecycle.state_dict,
        "deepcopy": _lifecycle.deep_copy,
        "pickle": _lifecycle.pickled,
        "meta": _lifecycle.meta,
        "gradients": _gradients.gradients,
        "double_backward": _gradients.double_backward,
        "forward_mode": _gradients.forward_mode,
        "vmap": _tracing.vmap,
        "compile": _tracing.compiled,
        "export": _tracing.exported,
    }
)

FEATURES: tuple[str, ...] = tuple(_CHECKS)
"""What `check_layer` can check."""


def check_layer(case: LayerCase, feature: str | None = None) -> None:
    """Check that a layer has a feature, or that it refuses it as its case says.

    Args:
        case: the layer, an input's shape, torch's twin if there is one, and what it refuses.
        feature: one of `FEATURES`; all of them by default.

    Raises:
        AssertionError: the feature is missing, or a refused one did not raise; the message names it.
        UnknownNameError: the feature, or one of those that the case refuses, is not known.

    >>> from torch import nn
    >>> case = LayerCase(lambda: nn.LayerNorm(6), shape=(4, 6), twin=lambda: nn.LayerNorm(6))
    >>> check_layer(case, "twin")
    """
    if feature is None:
        for name in FEATURES:
            check_layer(case, name)
        return
    for name in (feature, *case.refuses):
        if name not in _CHECKS:
            raise unknown_name("check_layer", "feature", name, FEATURES)
    refusal = case.refuses.get(feature)
    try:
        _CHECKS[feature](case)
    except Exception as error:
        if refusal is not None and isinstance(error, refusal):
            return
        text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        raise AssertionError(f"{feature}: {text}") from error
    if refusal is not None:
        raise AssertionError(f"{feature}: expected {refusal.__name__}, and nothing was raised")
