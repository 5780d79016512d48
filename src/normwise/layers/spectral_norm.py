"""Spectral normalization as a parametrization of a module's weight."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from normwise.errors import ArgumentError, explain
from normwise.layers._parametrize import (
    Axis,
    ModuleT,
    PerUnit,
    axis_of,
    parameter_of,
    register,
    require_none,
    widened,
    without_autocast,
)
from normwise.layers._recompute import in_recomputation

# Iterations at the start, as many as torch takes: from random vectors to a useful estimate.
_FIRST = 15


class SpectralNorm(PerUnit):
    """The parametrization ``weight = w / σ``, σ the estimate of the largest singular value by power iteration.

    Attributes:
        _u: the left singular vector, (U,); torch's name, so that its checkpoints load.
        _v: the right singular vector, (fan-in,).
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, eps: float, dim: int, groups: int) -> None:
        super().__init__(dim, groups)
        self.n_power_iterations = n_power_iterations
        self.eps = eps
        matrix = self.as_matrix(weight.detach())
        for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
            self.register_buffer(name, self._unit(matrix.new_empty(size).normal_(), matrix.new_zeros(size)))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight over its norm; in training the vectors move on first."""
        matrix = widened(self.as_matrix(weight))
        with without_autocast(matrix):
            if self.training and not in_recomputation():
                u, v = self._iterate(matrix.detach(), self.n_power_iterations)
            else:
                # Copies: a later pass writes into the buffers before this one's gradient is taken.
                u, v = self._u.clone().to(matrix.dtype), self._v.clone().to(matrix.dtype)
            # Vectors that are out of date may give a negative product; the weight's sign is no matter of its norm.
            norm = torch.dot(u, torch.mv(matrix, v)).abs()
        return (widened(weight) / torch.where(norm > self.eps, norm, 1.0)).to(weight.dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight itself; its singular vectors are estimated anew."""
        self._iterate(widened(self.as_matrix(weight.detach())), _FIRST)
        return weight

    def extra_repr(self) -> str:
        """The axis and the settings of the iteration."""
        return f"{super().extra_repr()}, n_power_iterations={self.n_power_iterations}, eps={self.eps}"

    @torch.no_grad()
    def _iterate(self, matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
        u, v = self._u.to(matrix.dtype), self._v.to(matrix.dtype)
        for _ in range(count):
            u = self._unit(torch.mv(matrix, v), u)
            v = self._unit(torch.mv(matrix.t(), u), v)
        # In place: a replica of the module on the same device must not keep them to itself.
        self._u.copy_(u)
        self._v.copy_(v)
        return u, v

    def _unit(self, vector: Tensor, before: Tensor) -> Tensor:
        """The vector at length one. A zero one or one that is not finite would never be left again."""
        length = torch.linalg.vector_norm(vector)
        return torch.where((length > self.eps) & length.isfinite(), vector / length, before)


def spectral_norm(
    module: ModuleT,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: Axis = "output",
) -> ModuleT:
    """Divide a module's weight by its largest singular value, in place, and return the module.

    ``w / σ(w)``, with ``σ = uᵀ w v`` for the weight as (output units, fan-in) and u, v from one step of power
    iteration each time that the weight is read in training; σ of at most `eps` is taken as 1, so that a zero weight
    stays zero with finite gradients. σ is computed in float32, float64 for a float64 weight. Checkpoints are exchanged
    with torch's `parametrizations.spectral_norm`, grouped transposed convolutions apart. Unlike torch's: a
    recomputation in a checkpoint moves nothing; u and v outlive weights that are zero or not finite; assigning a weight
    estimates them anew; the rows of a transposed convolution with groups are its output units, as those of a
    convolution are (with several groups σ is a bound on the largest of the groups' norms).

    A checkpoint's recomputation uses the vectors of the last forward pass: between two passes through the layer and
    their gradients they are one step apart.

    Args:
        module: Linear, any convolution, or a module of your own with a `dim`.
        name: the parameter, of two axes or more.
        n_power_iterations: steps at each reading in training.
        eps: the norm up to which nothing is divided.
        dim: the axis of output units; "output" finds it.

    Raises:
        ArgumentError: (a ValueError) there is no such parameter, it has one axis, it is normalized already, the axis
            is not known, or the number of steps is not positive.

    Source: Miyato et al. 2018, algorithm 1.

    >>> from torch import nn
    >>> layer = spectral_norm(nn.Linear(4, 3)).eval()
    >>> torch.linalg.matrix_norm(layer.weight, 2).detach().round(decimals=2)
    tensor(1.)
    """
    require_none("spectral_norm", "spectrally normalized", module, name, SpectralNorm)
    axis, groups = axis_of("spectral_norm", module, name, dim)
    if n_power_iterations < 1:
        raise ArgumentError(
            explain(
                "spectral_norm", "`n_power_iterations` must be at least 1", f"{n_power_iterations}", "use 1"
            )
        )
    weight = parameter_of("spectral_norm", module, name)
    norm = SpectralNorm(weight, n_power_iterations, eps, axis, groups)
    # Behind another parametrization nothing is asked for an inverse, which is where the first iterations are.
    behind = parametrize.is_parametrized(module, name)
    register(module, name, norm)
    if behind:
        with torch.no_grad():
            getattr(module, name)
    return module
