"""A contract suite for layers, the one table of tolerances, and that of the back ends that must run.

>>> from torch import nn
>>> check_layer(LayerCase(lambda: nn.Tanh(), shape=(2, 3)), "deepcopy")
"""

from normwise.testing._backends import BACKENDS
from normwise.testing._case import LayerCase
from normwise.testing.contract import FEATURES, check_layer
from normwise.testing.tolerance import ULPS, assert_close, assert_no_worse

__all__ = ["BACKENDS", "FEATURES", "ULPS", "LayerCase", "assert_close", "assert_no_worse", "check_layer"]
