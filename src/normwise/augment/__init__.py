"""Augmentation policies for images, sequences and tables: seeded, per batch, images over kornia."""

from normwise.augment.mix import MixPolicy, build_both, build_mix
from normwise.augment.operations import MIXES, OPERATIONS, Operation
from normwise.augment.policy import Policy, build

__all__ = ["MIXES", "OPERATIONS", "MixPolicy", "Operation", "Policy", "build", "build_both", "build_mix"]
