"""The command line: one short file per command, each importing what it needs only when it runs.

Data goes to stdout, progress and messages to stderr. Exit codes: 0 clean (a diverged trial is data), 1 a trial raised,
2 usage or configuration, 130 interrupted.
"""

from normwise.cli.app import main

__all__ = ["main"]
