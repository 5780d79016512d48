"""Signals measured while a network trains."""

from normwise.monitor.preserve import preserved
from normwise.monitor.signals import SignalProbe

__all__ = ["SignalProbe", "preserved"]
