"""From records to a `Comparison`: nothing here trains, and the same records give the same answer."""

from normwise.compare.analysis.comparison import assemble
from normwise.compare.analysis.setting import analyse

__all__ = ["analyse", "assemble"]
