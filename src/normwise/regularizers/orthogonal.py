"""Penalties on what keeps a weight from being orthogonal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from normwise.errors import unknown_name
from normwise.regularizers._blocks import added, lengths, matrices
from normwise.regularizers._penalty import Penalty
from normwise.regularizers._power import Vectors
from normwise.regularizers._selection import WEIGHTED, Pick
from normwise.regularizers.spectral import checked_iterations

FORMS = ("soft", "double", "spectral")


class OrthogonalPenalty(Penalty):
    """Penalise the distance of weights from orthogonality.

    W is the weight as (output units, fan-in), kernels flattened; the sum is over all weights picked.

    ============ ================================================== ============================
    form         penalty                                            name in Bansal et al.
    ============ ================================================== ============================
    ``soft``     ``strength · ‖W Wᵀ − I‖²_F``                       SO
    ``double``   ``strength · (‖W Wᵀ − I‖²_F + ‖Wᵀ W − I‖²_F)``     DSO, double soft
    ``spectral`` ``strength · max_i |σ_i(W)² − 1|``                 SRIP, spectral restricted isometry
    ============ ================================================== ============================

    The two squares of ``double`` differ by a constant, the difference of the sides of W: its gradient is twice that
    of ``soft``. Where there are more units than inputs, W Wᵀ = I is out of reach and that constant is left in the
    value. Both are computed from the smaller of the two products.

    ``spectral`` follows the one worst direction, found by power iteration on the smaller product minus I with a
    vector that is kept from call to call (a lower bound that closes in); it is over the min(units, fan-in) singular
    values, where Bansal et al. take WᵀW of either shape.

    A convolution with `groups` counts as so many layers side by side, since its units read different inputs.
    Gradients are finite everywhere and 0 for a weight of zeros.

    Args:
        strength: the factor, finite and ≥ 0; per unit of loss.
        form: "soft", "double" or "spectral".
        iterations: multiplications at each call, of ``spectral`` alone; at least 1.
        owners: classes of the modules whose weights are penalised; linear layers and convolutions.
        parameters: names of the parameters.

    The sum is in the weights' dtype, float32 where that is a 16-bit one. Shared weights count once. Keras's
    ``OrthogonalRegularizer`` is another: absolute cosines between rows, whatever their lengths.

    Raises:
        ArgumentError: a wrong argument, or, when called, a model without such a weight.
        UnknownNameError: no form has this name.

    Source: Bansal et al., "Can we gain more from orthogonality regularizations in training deep networks?", 2018,
    section 3.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
        >>> OrthogonalPenalty(1.0)(layer).item()
        9.0
    """

    def __init__(
        self,
        strength: float,
        *,
        form: Literal["soft", "double", "spectral"] = "soft",
        iterations: int = 2,
        owners: Sequence[type[nn.Module]] = WEIGHTED,
        parameters: Sequence[str] = ("weight",),
    ) -> None:
        super().__init__(strength, owners=owners, parameters=parameters)
        if form not in FORMS:
            raise unknown_name("OrthogonalPenalty", "form", form, FORMS)
        self.form = form
        self.iterations = checked_iterations("OrthogonalPenalty", iterations)
        self._vectors = Vectors()

    def _value(self, picks: list[Pick]) -> Tensor:
        cost = self._worst if self.form == "spectral" else self._squares
        return self.strength * added([cost(pick) for pick in picks])

    def _squares(self, pick: Pick) -> Tensor:
        weight = matrices(pick.owner, pick.tensor)
        groups, units, inputs = weight.shape
        total = (_smaller_product(weight) - _identity(weight)).square().sum()
        # ‖W Wᵀ − I‖² is above ‖Wᵀ W − I‖² by units − inputs.
        soft = total + groups * max(0, units - inputs)
        return soft if self.form == "soft" else soft + total + groups * max(0, inputs - units)

    def _worst(self, pick: Pick) -> Tensor:
        weight = matrices(pick.owner, pick.tensor)
        narrow = weight.mT if weight.shape[1] < weight.shape[2] else weight  # its fan-in is the shorter side

        def apply(w: Tensor, x: Tensor) -> Tensor:
            return w.mT @ (w @ x) - x

        fixed = narrow.detach()
        v = self._vectors.iterate(pick, fixed, lambda x: apply(fixed, x), self.iterations)
        return lengths(apply(narrow, v), (1,)).sum()

    def _arguments(self) -> str:
        return f"{self.strength!r}, form={self.form!r}"


def _smaller_product(weight: Tensor) -> Tensor:
    return weight @ weight.mT if weight.shape[1] <= weight.shape[2] else weight.mT @ weight


def _identity(weight: Tensor) -> Tensor:
    return torch.eye(min(weight.shape[1:]), dtype=weight.dtype, device=weight.device)
