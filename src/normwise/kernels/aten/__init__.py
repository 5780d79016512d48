"""Torch's fused operators under normwise's options: every device, every transform, compile and export.

Nothing is validated here; `normwise.functional` does that once.
"""

from normwise.kernels.aten.activation import ACTIVATIONS
from normwise.kernels.aten.batch_norm import Running, batch_norm, batch_norm_stacked, batch_norm_weighted
from normwise.kernels.aten.dropout import dropout
from normwise.kernels.aten.instance_norm import instance_norm, track_instances
from normwise.kernels.aten.layer_norm import layer_norm_over_channels
from normwise.kernels.aten.moments import moments
from normwise.kernels.aten.rms_norm import rms_norm_over_channels
from normwise.kernels.aten.tracking import track
from normwise.kernels.aten.weight_norm import weight_norm
from normwise.kernels.aten.weighted import weighted_norm

__all__ = [
    "ACTIVATIONS",
    "Running",
    "batch_norm",
    "batch_norm_stacked",
    "batch_norm_weighted",
    "dropout",
    "instance_norm",
    "layer_norm_over_channels",
    "moments",
    "rms_norm_over_channels",
    "track",
    "track_instances",
    "weight_norm",
    "weighted_norm",
]
