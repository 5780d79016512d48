"""Augmentation policies for images: seeded, per batch, over kornia's geometry."""

from normwise.augment.operations import OPERATIONS, Operation
from normwise.augment.policy import Policy, build

__all__ = ["OPERATIONS", "Operation", "Policy", "build"]
