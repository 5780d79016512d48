"""Tables, images and arrays by name or path, and their splits as tensors.

`load` reads and explains, `Dataset.split` deals rows by seed and prepares them with statistics of the
training part.
"""

from normwise.data.dataset import Dataset, Part, Split
from normwise.data.load import load
from normwise.data.names import known

__all__ = ["Dataset", "Part", "Split", "known", "load"]
