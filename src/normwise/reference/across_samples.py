"""Statistics across samples: batch normalization."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from normwise.geometry import Geometry
from normwise.reference.moments import affine, grouped, moments


class AcrossSamples(NamedTuple):
    """The output and the running statistics after it."""

    output: Tensor
    running_mean: Tensor | None
    running_var: Tensor | None


def across_samples(
    input: Tensor,
    geometry: Geometry,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> AcrossSamples:
    """Normalize by the statistics of all samples, or by the running ones; nothing is changed in place.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` with the biased variance; the running variance takes
    ``σ² · m / (m − 1)``. Shapes as in `normwise.functional.batch_norm`; float64.

    Source: Ioffe & Szegedy 2015, algorithms 1 and 2.

    >>> x = torch.tensor([[1.0], [3.0]])
    >>> across_samples(x, Geometry.batch(x.shape), eps=0.0).output.flatten().tolist()
    [-1.0, 1.0]
    """
    if training or running_mean is None or running_var is None:
        mean, var = moments(input, geometry)
    else:
        mean, var = (s.double().reshape(1, -1, 1, 1) for s in (running_mean, running_var))
    if training and running_mean is not None and running_var is not None:
        unbiased = var * geometry.count / (geometry.count - 1)
        running_mean = (1 - momentum) * running_mean.double() + momentum * mean.flatten()
        running_var = (1 - momentum) * running_var.double() + momentum * unbiased.flatten()
    normalized = (grouped(input, geometry) - mean) / torch.sqrt(var + eps)
    return AcrossSamples(affine(normalized, geometry, weight, bias), running_mean, running_var)
