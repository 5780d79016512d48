"""The L2 penalty."""

from __future__ import annotations

from normwise.regularizers._penalty import ElementPenalty


class L2(ElementPenalty):
    """Penalise the squares of weights: ``strength / 2 · Σw²``, whose gradient is ``strength · w``.

    With the half, `strength` means what torch's SGD calls `weight_decay`. Keras's ``L2(l2)`` has no half:
    it equals ``L2(2 * l2)``. In Adam a penalty is not the same as decoupled decay (AdamW).

    Args:
        strength: the factor, finite and ≥ 0; per unit of loss.
        owners: classes of the modules whose weights are penalised; linear layers and convolutions, so that
            norms never are unless named.
        parameters: names of the parameters; biases are penalised only if ``"bias"`` is named.

    Shared weights count once. A weight-normalized weight is penalised by its effective value.

    Raises:
        ArgumentError: a wrong argument, or, when called, a model without such a weight.

    Source: Krogh & Hertz, "A simple weight decay can improve generalization", 1991, equation 2.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -3.0]]))
        >>> L2(0.5)(layer).item()
        2.5
    """

    def _coefficients(self) -> tuple[float, float]:
        return 0.0, self.strength
