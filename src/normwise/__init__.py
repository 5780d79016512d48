"""Normalization and regularization for people who train neural networks."""
