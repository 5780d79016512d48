"""The contract that every layer is held to, feature by feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from normwise.errors import unknown_name
from normwise.testing import _gradients, _lifecycle, _outputs, _running, _tracing
from normwise.testing._backends import runs
from normwise.testing._case import LayerCase

_Check = Callable[[LayerCase], None]


def _throughout(feature: str, check: _Check) -> _Check:
    """The check, in all of which the back end of the table must run."""

    def checked(case: LayerCase) -> None:
        with runs(case, feature):
            check(case)

    return checked


# In the others the layer also runs without the feature, to be compared: they look at the back end themselves.
_THROUGHOUT: Mapping[str, _Check] = {
    "twin": _outputs.twin,
    "dtypes": _outputs.dtypes,
    "autocast": _outputs.autocast,
    "layout": _outputs.layout,
    "gradient_layout": _outputs.gradient_layout,
    "empty": _outputs.empty,
    "non_contiguous": _outputs.non_contiguous,
    "modes": _outputs.modes,
    "inference_mode": _running.inference_mode,
    "threads": _running.threads,
    "determinism": _running.determinism,
    "checkpoint": _running.checkpointed,
    "state_dict": _lifecycle.state_dict,
    "deepcopy": _lifecycle.deep_copy,
    "pickle": _lifecycle.pickled,
    "gradients": _gradients.gradients,
    "double_backward": _gradients.double_backward,
    "fx": _tracing.symbolic,
}
_CHECKS: Mapping[str, _Check] = MappingProxyType(
    {
        **{name: _throughout(name, check) for name, check in _THROUGHOUT.items()},
        "meta": _lifecycle.meta,
        "forward_mode": _gradients.forward_mode,
        "vmap": _tracing.vmap,
        "compile": _tracing.compiled,
        "export": _tracing.exported,
        "onnx": _tracing.onnx,
    }
)

FEATURES: tuple[str, ...] = tuple(_CHECKS)
"""What `check_layer` can check."""


def check_layer(case: LayerCase, feature: str | None = None) -> None:
    """Check that a layer has a feature, or that it refuses it as its case says.

    Args:
        case: the layer, an input's shape, torch's twin if there is one, what it refuses, and which back ends must run.
        feature: one of `FEATURES`; all of them by default.

    Raises:
        AssertionError: the feature is missing, a refused one did not raise, or another back end ran than the case
            says; the message names it.
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
