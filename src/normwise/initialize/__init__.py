"""Initial weights: He, Xavier, orthogonal, LSUV and a plain Gaussian, seeded layer by layer."""

from normwise.initialize.initialize import SCHEMES, initialize_

__all__ = ["SCHEMES", "initialize_"]
