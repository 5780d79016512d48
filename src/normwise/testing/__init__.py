"""A contract suite for layers, and the one table of tolerances.

>>> from torch import nn
>>> check_layer(LayerCase(lambda: nn.Tanh(), shape=(2, 3)), "deepcopy")
"""

from normwise.testing._case import LayerCase
from normwise.testing.contract import FEATURES, check_layer
from normwise.testing.tolerance import ULPS, assert_close, assert_no_worse

__all__ = ["FEATURES", "ULPS", "LayerCase", "assert_close", "assert_no_worse", "check_layer"]
