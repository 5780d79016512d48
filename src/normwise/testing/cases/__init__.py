"""Every layer of normwise as a case of the contract; what a layer refuses is in its row.

>>> "BatchNorm2d" in all_cases()
True
"""

from normwise.testing._case import LayerCase
from normwise.testing.cases import across_samples, conditional, dropout, torch_named, weights, within_sample

_FAMILIES = (torch_named, weights, dropout, within_sample, across_samples, conditional)


def all_cases() -> dict[str, LayerCase]:
    """Name, then a comma and a variant where there is one → case."""
    return {name: case for family in _FAMILIES for name, case in family.cases().items()}
