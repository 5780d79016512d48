"""Normalizations as functions: validate, then hand over to the kernels; one file per operation.

Gradients are those of torch's operators, of any order, forward and reverse.
"""

from normwise.functional.batch_norm import batch_norm
from normwise.functional.finish import ACTIVATION_NAMES, check_finish, check_rate, finish
from normwise.functional.group_norm import group_norm
from normwise.functional.instance_norm import instance_norm
from normwise.functional.layer_norm import layer_norm, layer_norm_over_channels
from normwise.functional.rms_norm import rms_norm, rms_norm_over_channels
from normwise.functional.weight_norm import weight_norm

__all__ = [
    "ACTIVATION_NAMES",
    "batch_norm",
    "check_finish",
    "check_rate",
    "finish",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "layer_norm_over_channels",
    "rms_norm",
    "rms_norm_over_channels",
    "weight_norm",
]
