"""The penalty on spectral norms: how far a weight can stretch a vector."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.regularizers._blocks import added, matrices
from normwise.regularizers._penalty import Penalty
from normwise.regularizers._power import Vectors
from normwise.regularizers._selection import WEIGHTED, Pick


class SpectralPenalty(Penalty):
    """Penalise the squares of largest singular values: ``strength / 2 · Σ_W σ_max(W)²``.

    W is the weight as (output units, fan-in): kernels are flattened, so that σ_max of a convolution is that of its
    matrix, not of the convolution itself. A convolution with `groups` counts as so many layers side by side.

    σ_max is ``‖W v‖`` for a unit vector v that is multiplied by WᵀW once or more at every call and kept for the next
    (the first call takes 15 multiplications): a lower bound that closes in while the weights change slowly. The
    gradient is ``strength · σ · u vᵀ`` with ``u = W v / σ``; 0 for a weight of zeros. No vector
    is drawn at random; a copy or a pickle of the penalty starts from the first one again.

    Args:
        strength: the factor, finite and ≥ 0; per unit of loss.
        iterations: multiplications at each call, at least 1.
        owners: classes of the modules whose weights are penalised; linear layers and convolutions.
        parameters: names of the parameters.

    The sum is in the weights' dtype, float32 where that is a 16-bit one. Shared weights count once. A
    weight-normalized weight is penalised by its effective value.

    Raises:
        ArgumentError: a wrong argument, or, when called, a model without such a weight.

    Source: Yoshida & Miyato, "Spectral norm regularization for improving the generalizability of deep learning",
    2017, equation 5 and algorithm 1.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))
        >>> round(SpectralPenalty(1.0)(layer).item(), 4)
        4.5
    """

    def __init__(
        self,
        strength: float,
        *,
        iterations: int = 1,
        owners: Sequence[type[nn.Module]] = WEIGHTED,
        parameters: Sequence[str] = ("weight",),
    ) -> None:
        super().__init__(strength, owners=owners, parameters=parameters)
        self.iterations = checked_iterations("SpectralPenalty", iterations)
        self._vectors = Vectors()

    def _value(self, picks: list[Pick]) -> Tensor:
        return self.strength / 2 * added([self._squared(pick) for pick in picks])

    def _squared(self, pick: Pick) -> Tensor:
        weight = matrices(pick.owner, pick.tensor)
        fixed = weight.detach()
        v = self._vectors.iterate(pick, fixed, lambda x: fixed.mT @ (fixed @ x), self.iterations)
        # With v held, the gradient of ‖W v‖² is 2·W v vᵀ: that of σ² where v is the singular vector.
        return (weight @ v).square().sum()

    def _arguments(self) -> str:
        return f"{self.strength!r}, iterations={self.iterations}"


def checked_iterations(who: str, iterations: int) -> int:
    """Return `iterations` if there is one at least."""
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise ArgumentError(explain(who, "`iterations` must be a whole number from 1 on", repr(iterations)))
    return iterations
