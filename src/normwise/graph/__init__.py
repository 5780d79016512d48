"""A model traced once on an example: what ran in which module, and who feeds whom."""

from normwise.graph.records import Call, Graph, Op, Value
from normwise.graph.trace import trace

__all__ = ["Call", "Graph", "Op", "Value", "trace"]
