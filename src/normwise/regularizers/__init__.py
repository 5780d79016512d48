"""Penalties on weights, activations and predictions, constraints, proximal steps, and decoupled weight decay."""

from normwise.regularizers.activity import ActivityPenalty
from normwise.regularizers.confidence import ConfidencePenalty
from normwise.regularizers.elastic import Elastic
from normwise.regularizers.group_lasso import GroupLasso
from normwise.regularizers.l1 import L1
from normwise.regularizers.l2 import L2
from normwise.regularizers.label_smoothing import LabelSmoothing
from normwise.regularizers.max_norm import MaxNorm
from normwise.regularizers.non_negative import NonNegative
from normwise.regularizers.orthogonal import OrthogonalPenalty
from normwise.regularizers.parameter_groups import parameter_groups
from normwise.regularizers.sgdw import SGDW
from normwise.regularizers.sparsity import sparsity
from normwise.regularizers.spectral import SpectralPenalty
from normwise.regularizers.unit_norm import UnitNorm

__all__ = [
    "L1",
    "L2",
    "SGDW",
    "ActivityPenalty",
    "ConfidencePenalty",
    "Elastic",
    "GroupLasso",
    "LabelSmoothing",
    "MaxNorm",
    "NonNegative",
    "OrthogonalPenalty",
    "SpectralPenalty",
    "UnitNorm",
    "parameter_groups",
    "sparsity",
]
