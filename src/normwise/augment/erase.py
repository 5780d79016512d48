"""Erasing: a box of each image replaced by the means of its channels."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.augment.span import covered


def erase(images: Tensor, magnitude: float, draws: Tensor) -> Tensor:
    """Replace in each image a box, with sides of up to `magnitude` of the image's, that lies wholly inside.

    Source: Zhong et al., "Random erasing data augmentation", 2020; the box here is drawn by its sides, and
    the filling is the image's own mean per channel, which is right in whatever unit the pixels have.
    """
    rows = covered(images, -2, magnitude, draws[0], draws[1])[:, None, :, None]
    columns = covered(images, -1, magnitude, draws[2], draws[3])[:, None, None, :]
    return torch.where(rows & columns, images.mean(dim=(-2, -1), keepdim=True), images)
