"""Penalties on weights (L1, L2, elastic), the proximal step of L1, and parameter groups for weight decay."""

from normwise.regularizers.elastic import Elastic
from normwise.regularizers.l1 import L1
from normwise.regularizers.l2 import L2
from normwise.regularizers.parameter_groups import parameter_groups
from normwise.regularizers.sparsity import sparsity

__all__ = ["L1", "L2", "Elastic", "parameter_groups", "sparsity"]
