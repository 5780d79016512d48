"""Operations on a model that exists: each takes a model and returns a model and a record of its edits."""

from normwise.surgery._foreign import ForeignLayer
from normwise.surgery.accelerate import accelerate
from normwise.surgery.average_statistics import average_statistics
from normwise.surgery.convert import convert
from normwise.surgery.decelerate import decelerate
from normwise.surgery.flax_weights import from_flax, to_flax
from normwise.surgery.fold import fold
from normwise.surgery.freeze import freeze, unfreeze
from normwise.surgery.insert import insert
from normwise.surgery.keras_weights import from_keras, to_keras
from normwise.surgery.recalibrate import recalibrate
from normwise.surgery.remove import remove
from normwise.surgery.reset_running_stats import reset_running_stats
from normwise.surgery.set_statistics import set_statistics
from normwise.surgery.synchronize import desynchronize, synchronize
from normwise.surgery.unfold import unfold

__all__ = [
    "ForeignLayer",
    "accelerate",
    "average_statistics",
    "convert",
    "decelerate",
    "desynchronize",
    "fold",
    "freeze",
    "from_flax",
    "from_keras",
    "insert",
    "recalibrate",
    "remove",
    "reset_running_stats",
    "set_statistics",
    "synchronize",
    "to_flax",
    "to_keras",
    "unfold",
    "unfreeze",
]
