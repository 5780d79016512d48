"""A collection of faults with their clean twins, and of healthy programs, to try a diagnosis on."""

from normwise.testing.faults.collection import FAULTS, Case, faulty, healthy
from normwise.testing.faults.fault import Edited, Fault
from normwise.testing.faults.program import Program, Training

__all__ = ["FAULTS", "Case", "Edited", "Fault", "Program", "Training", "faulty", "healthy"]
