"""How fast normwise is on this machine: cases timed in turn against torch and JAX, and what bars they must reach."""
