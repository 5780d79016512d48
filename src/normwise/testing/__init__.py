"""A contract suite for layers with its tolerances and back ends, and a collection of faulty trainings.

>>> from torch import nn
>>> check_layer(LayerCase(lambda: nn.Tanh(), shape=(2, 3)), "deepcopy")
"""

from normwise.testing import faults
from normwise.testing._backends import BACKENDS
from normwise.testing._case import LayerCase
from normwise.testing.contract import FEATURES, check_layer
from normwise.testing.tolerance import ULPS, assert_close, assert_no_worse

__all__ = [
    "BACKENDS",
    "FEATURES",
    "ULPS",
    "LayerCase",
    "assert_close",
    "assert_no_worse",
    "check_layer",
    "faults",
]
