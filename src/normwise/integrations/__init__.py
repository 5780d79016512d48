"""What other people's packages need to work with normwise; each is imported when it is asked for."""

from normwise.integrations.lightning import lightning_callback
from normwise.integrations.tensorboard import TensorBoard

__all__ = ["TensorBoard", "lightning_callback"]
