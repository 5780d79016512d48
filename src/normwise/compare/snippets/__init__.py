"""A variant as code to paste: whole programs for PyTorch and for Keras."""

from normwise.compare.snippets.write import snippets

__all__ = ["snippets"]
