"""Say why a network trains badly: facts → rules → findings → remedies → proof.

The package can be called: ``normwise.diagnose(model, batch)`` is ``normwise.diagnose.diagnose(…)``.
"""

from typing import TYPE_CHECKING

from normwise._exports import attach

if TYPE_CHECKING:
    from normwise.diagnose import fix, prove
    from normwise.diagnose.api import diagnose
    from normwise.diagnose.subject import Data, OptimizerChoice, Setup, Subject

__all__ = ["Data", "OptimizerChoice", "Setup", "Subject", "diagnose", "fix", "prove"]

attach(
    __name__,
    {
        "Data": "normwise.diagnose.subject",
        "OptimizerChoice": "normwise.diagnose.subject",
        "Setup": "normwise.diagnose.subject",
        "Subject": "normwise.diagnose.subject",
        "diagnose": "normwise.diagnose.api",
        "fix": "normwise.diagnose.fix",
        "prove": "normwise.diagnose.prove",
    },
    call="diagnose",
)
