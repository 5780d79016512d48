"""Parametrizations of weights, on the modules whose axes differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn
from torch.nn.utils import parametrizations

from normwise import layers as nw
from normwise.testing._case import LayerCase
from normwise.testing.cases._shapes import Make

_MODULES: Mapping[str, tuple[Make, tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(6, 5), (3, 6)),
    "Conv2d in groups": (lambda: nn.Conv2d(6, 4, 3, groups=2), (2, 6, 4, 5)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(6, 4, 3), (2, 6, 5)),
    "ConvTranspose2d in groups": (lambda: nn.ConvTranspose2d(6, 4, 3, groups=2), (2, 6, 3, 4)),
}
_FUNCTIONS: Mapping[str, Callable[[nn.Module], nn.Module]] = {
    "spectral_norm": lambda module: _held(nw.spectral_norm(module)),
    "weight_standardization": nw.weight_standardization,
    "weight_standardization, scaled": lambda module: nw.weight_standardization(module, scaled=True),
    "orthogonal": lambda module: nw.orthogonal(module, orthogonal_map="cayley"),
    "orthogonal, householder": lambda module: nw.orthogonal(module, orthogonal_map="householder"),
    "orthogonal, matrix_exp": lambda module: nw.orthogonal(module, orthogonal_map="matrix_exp"),
    "centred_weight": nw.centred_weight,
}
# Of torch's, where they mean the same.
_TWINS: Mapping[tuple[str, str], Callable[[nn.Module], nn.Module]] = {
    ("spectral_norm", "Linear"): lambda module: _held(parametrizations.spectral_norm(module)),
    ("spectral_norm", "Conv2d in groups"): lambda module: _held(parametrizations.spectral_norm(module)),
    ("spectral_norm", "ConvTranspose1d"): lambda module: _held(parametrizations.spectral_norm(module)),
    ("orthogonal", "Linear"): lambda module: parametrizations.orthogonal(module, orthogonal_map="cayley"),
    ("orthogonal, matrix_exp", "Linear"): lambda module: parametrizations.orthogonal(
        module, orthogonal_map="matrix_exp"
    ),
}


def cases() -> dict[str, LayerCase]:
    """Each function on each module; name → case."""
    found: dict[str, LayerCase] = {}
    for name, function in _FUNCTIONS.items():
        for module, (make, shape) in _MODULES.items():
            theirs = _TWINS.get((name, module))
            found[f"{name}, {module}"] = LayerCase(
                partial(_compose, function, make),
                shape,
                None if theirs is None else partial(_compose, theirs, make),
                # Torch refuses to pickle a parametrized module; a state_dict is its way. ONNX has no exponential of a
                # matrix, no solver and no reflections: bake_weights_ comes before it.
                refuses={"pickle": RuntimeError}
                | ({"onnx": RuntimeError} if name.startswith("orthogonal") else {}),
                changes_shape=True,
            )
    return found


def _compose(function: Callable[[nn.Module], nn.Module], make: Make) -> nn.Module:
    return function(make())


def _held(module: nn.Module) -> nn.Module:
    """Keep the singular vectors, which finite differences would see move; that they do is in test_spectral_norm.py."""
    parametrized: Any = module
    parametrized.parametrizations.weight[0].n_power_iterations = 0
    return module
