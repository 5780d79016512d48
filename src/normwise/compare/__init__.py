"""Train the same network in different ways and say what helps: spec → plan → trial → store → statistics → Comparison.

The package can be called: ``normwise.compare("digits", seeds=5)`` is ``normwise.compare.compare(…)``. Its names are
imported when first asked for, so that checking a question does not import torch.
"""

from typing import TYPE_CHECKING

from normwise._exports import attach
from normwise._optional import require

if TYPE_CHECKING:
    from normwise.compare.api import compare
    from normwise.compare.network_spec import Initialization, Network
    from normwise.compare.spec import Spec, make_spec
    from normwise.compare.variant import Variant, product

__all__ = ["Initialization", "Network", "Spec", "Variant", "compare", "make_spec", "product"]

# Everything in here needs the extra; say so once, by its name, instead of failing at whichever import comes first.
for _package in ("pydantic", "filelock", "scipy"):
    require(_package, extra="compare", who="normwise.compare")

attach(
    __name__,
    {
        "Initialization": "normwise.compare.network_spec",
        "Network": "normwise.compare.network_spec",
        "Spec": "normwise.compare.spec",
        "Variant": "normwise.compare.variant",
        "compare": "normwise.compare.api",
        "make_spec": "normwise.compare.spec",
        "product": "normwise.compare.variant",
    },
    call="compare",
)
