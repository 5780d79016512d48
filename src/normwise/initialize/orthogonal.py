"""Saxe et al.'s orthogonal initialisation."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.initialize._layers import WeightedLayer


def orthonormal(layer: WeightedLayer) -> Tensor:
    """Draw a matrix a group with orthonormal rows, or columns where those are fewer, uniformly (Haar)."""
    normal = layer.normal()
    wide = normal.shape[-1] > normal.shape[-2]
    q: Tensor
    q, r = torch.linalg.qr(normal.mT if wide else normal)
    # QR leaves signs to the library; the signs of r's diagonal make the draw uniform and the same everywhere.
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    q = q * torch.where(diagonal < 0, -1.0, 1.0).to(q).unsqueeze(-2)
    return q.mT if wide else q


def orthogonal(layer: WeightedLayer) -> Tensor:
    """Draw an orthonormal matrix times the gain.

    Source: Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", 2014, section 3; the gain is their g for the activation that follows.
    """
    return orthonormal(layer) * layer.gain
