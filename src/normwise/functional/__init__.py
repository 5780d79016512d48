"""Normalizations as functions: validate, then hand over to the kernels; one file per operation.

On the CPU normwise's own kernels run where they can (`normwise.kernels.registry` says what runs, and why); torch's
operators run everywhere else. Gradients of any order, forward and reverse, are right either way.
"""

from normwise.functional.adaptive_instance_norm import adaptive_instance_norm
from normwise.functional.batch_norm import batch_norm
from normwise.functional.batch_norm_pure import Statistics, batch_norm_pure
from normwise.functional.batch_renorm import renorm_bound, renorm_correction
from normwise.functional.decorrelated_batch_norm import decorrelated_batch_norm, inverse_root
from normwise.functional.domain_batch_norm import domain_batch_norm
from normwise.functional.dropout import check_rate, dropout
from normwise.functional.evo_norm_b0 import evo_norm_b0
from normwise.functional.evo_norm_s0 import evo_norm_s0
from normwise.functional.filter_response_norm import filter_response_norm
from normwise.functional.finish import ACTIVATION_NAMES, check_finish, finish
from normwise.functional.ghost_batch_norm import ghost_batch_norm, ghost_sizes
from normwise.functional.global_response_norm import global_response_norm
from normwise.functional.group_norm import group_norm
from normwise.functional.instance_norm import instance_norm
from normwise.functional.layer_norm import layer_norm, layer_norm_over_channels
from normwise.functional.linear import linear
from normwise.functional.local_response_norm import local_response_norm
from normwise.functional.mean_only_batch_norm import mean_only_batch_norm
from normwise.functional.modulate import modulate
from normwise.functional.moments import Moments, moments
from normwise.functional.rms_norm import rms_norm, rms_norm_over_channels
from normwise.functional.scale_norm import scale_norm
from normwise.functional.shared_batch_norm import local_sums, shared_batch_norm
from normwise.functional.switchable_norm import switchable_norm
from normwise.functional.weight_norm import weight_norm

__all__ = [
    "ACTIVATION_NAMES",
    "Moments",
    "Statistics",
    "adaptive_instance_norm",
    "batch_norm",
    "batch_norm_pure",
    "check_finish",
    "check_rate",
    "decorrelated_batch_norm",
    "domain_batch_norm",
    "dropout",
    "evo_norm_b0",
    "evo_norm_s0",
    "filter_response_norm",
    "finish",
    "ghost_batch_norm",
    "ghost_sizes",
    "global_response_norm",
    "group_norm",
    "instance_norm",
    "inverse_root",
    "layer_norm",
    "layer_norm_over_channels",
    "linear",
    "local_response_norm",
    "local_sums",
    "mean_only_batch_norm",
    "modulate",
    "moments",
    "renorm_bound",
    "renorm_correction",
    "rms_norm",
    "rms_norm_over_channels",
    "scale_norm",
    "shared_batch_norm",
    "switchable_norm",
    "weight_norm",
]
