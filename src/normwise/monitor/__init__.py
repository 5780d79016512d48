"""Signals measured while a network trains."""

from normwise.monitor.monitor import Monitor
from normwise.monitor.preserve import preserved
from normwise.monitor.records import LayerRecord, ModesRecord, NormRecord, Record, StepRecord
from normwise.monitor.signals import SignalProbe

__all__ = [
    "LayerRecord",
    "ModesRecord",
    "Monitor",
    "NormRecord",
    "Record",
    "SignalProbe",
    "StepRecord",
    "preserved",
]
