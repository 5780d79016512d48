"""The program for a user's own model."""

from __future__ import annotations

from normwise.compare.snippets.recipe import Recipe
from normwise.results import Snippet


def user_model(recipe: Recipe) -> Snippet:
    """Call the builder as the comparison did, and train."""
    return Snippet("PyTorch", "")
