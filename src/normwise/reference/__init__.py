"""The mathematics in plain torch, readable and safe in float64: the oracle of the tests, never dispatched.

Everything is computed in float64 and answered in float64, whatever the input's dtype. Two families cover all
activation normalizations, over one `Geometry`: statistics across samples and statistics within a sample.
"""

from normwise.reference.across_samples import AcrossSamples, across_samples
from normwise.reference.backward import normalize_backward
from normwise.reference.moments import moments
from normwise.reference.weight_norm import weight_norm
from normwise.reference.within_sample import within_sample

__all__ = [
    "AcrossSamples",
    "across_samples",
    "moments",
    "normalize_backward",
    "weight_norm",
    "within_sample",
]
