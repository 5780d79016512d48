"""Edits that rules' remedies are made of: each takes a setup and gives the one that it becomes.

They change the setup's model, or the values beside it. `normwise.diagnose.fix.apply` makes the copy that they work
on. Those that look at data read the setup's `example`; those that draw weights take torch's random state.
"""

from normwise.diagnose.remedies.activation import swap_activation
from normwise.diagnose.remedies.draw import random_remedy
from normwise.diagnose.remedies.inputs import standardise_inputs
from normwise.diagnose.remedies.mode import train_mode
from normwise.diagnose.remedies.norms import convert_norm, insert_norm, normalize_or_draw, recalibrate
from normwise.diagnose.remedies.setup import copied, differences, inputs_of
from normwise.diagnose.remedies.structure import change_dropout, leave_out
from normwise.diagnose.remedies.targets import standardise_targets
from normwise.diagnose.remedies.training import (
    change_decay,
    change_optimizer,
    change_rate,
    clip,
    larger_batch,
    spare_norms,
)
from normwise.diagnose.remedies.weights import initialise

__all__ = [
    "change_decay",
    "change_dropout",
    "change_optimizer",
    "change_rate",
    "clip",
    "convert_norm",
    "copied",
    "differences",
    "initialise",
    "inputs_of",
    "insert_norm",
    "larger_batch",
    "leave_out",
    "normalize_or_draw",
    "random_remedy",
    "recalibrate",
    "spare_norms",
    "standardise_inputs",
    "standardise_targets",
    "swap_activation",
    "train_mode",
]
