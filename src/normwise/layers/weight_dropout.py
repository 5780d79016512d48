"""Dropout of weights, as a parametrization."""

from __future__ import annotations

from torch import Tensor

from normwise.functional import check_rate, dropout
from normwise.layers._draws import Drops
from normwise.layers._parametrize import ModuleT, parameter_of, register, require_none


class WeightDropout(Drops):
    """The parametrization ``weight = dropout(w, p)``, drawn each time that the weight is read in training."""

    def disturb(self, input: Tensor) -> Tensor:
        """Drop weights."""
        return dropout(input, self.p, True)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight itself."""
        return weight


def weight_dropout(module: ModuleT, p: float = 0.5, name: str = "weight") -> ModuleT:
    """Drop a module's weights at random in training, in place, and return the module.

    ``w · mask / (1 − p)``, one mask for all samples of a call, whose elements are zero with probability p; the
    parameter itself is not changed, and evaluation reads it as it is. Wan et al. draw a mask for each sample.

    A recurrent layer takes it for its hidden weights (``name="weight_hh_l0"``), one mask for all time steps, as in
    AWD-LSTM. Torch reads such a weight some four times at a call, each of which draws; the last is used. After a call
    the layer holds that weight, so that torch cannot copy it deeply until it is called without gradients
    (``torch.no_grad()``).

    Args:
        module: with the parameter.
        p: the probability that a weight is dropped.
        name: the parameter, of any shape.

    Raises:
        ArgumentError: (a ValueError) p is no probability, there is no such parameter, or it is dropped already.

    Source: Wan et al. 2013 (DropConnect); Merity, Keskar & Socher 2018 (AWD-LSTM).

    >>> import torch
    >>> layer = weight_dropout(torch.nn.Linear(3, 2), p=1.0)
    >>> layer.weight.abs().max(), layer.eval().weight.abs().max() > 0
    (tensor(0., grad_fn=<MaxBackward1>), tensor(True))
    """
    check_rate("weight_dropout", "p", p)
    require_none("weight_dropout", "dropped", module, name, WeightDropout)
    parameter_of("weight_dropout", module, name)
    register(module, name, WeightDropout(p))
    return module
