"""Implementations of the operations; `aten` runs torch's own fused operators everywhere."""
