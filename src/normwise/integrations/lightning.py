"""The monitor as a callback of Lightning."""

from __future__ import annotations

from typing import Any

from normwise._optional import require
from normwise.errors import ArgumentError, MissingPackageError, explain
from normwise.monitor import Monitor


def lightning_callback(**options: Any) -> Any:
    """A Lightning callback under which a fit is watched by a `Monitor`, from its first step to its last.

    Where the trainer has a TensorBoard logger, `normwise.integrations.TensorBoard(trainer.logger.experiment)` is a sink
    for its page. The monitor of the latest fit is the callback's attribute `monitor`.

    Args:
        options: of `Monitor`, without model and optimizer. The scaler of Lightning's mixed precision is found.

    Raises:
        MissingPackageError: (an ImportError) neither `lightning` nor `pytorch_lightning` is installed.
        ArgumentError: (a ValueError) at the start of a fit: more than one optimizer, or what `Monitor` refuses.

    Example:
        ``Trainer(callbacks=[lightning_callback(sinks=["monitor.jsonl"])])``
    """
    return _callback_class()(options)


def _callback_class() -> type:
    base: Any = _callback_base()

    class MonitorCallback(base):  # type: ignore[misc]
        """Opens a monitor where training starts, and closes it where it ends."""

        def __init__(self, options: dict[str, Any]) -> None:
            super().__init__()
            self._options = options
            self.monitor: Monitor | None = None

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Watch the model by its only optimizer."""
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            options: dict[str, Any] = {"scaler": scaler} | self._options
            self.monitor = Monitor(_model(trainer, pl_module), _only_optimizer(trainer), **options)
            self.monitor.__enter__()

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            """Leave the model as it was."""
            self._leave()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            """Leave the model as it was."""
            self._leave()

        def _leave(self) -> None:
            if self.monitor is not None:
                self.monitor.__exit__(None, None, None)

    return MonitorCallback


def _callback_base() -> Any:
    """Of the package that is installed: a trainer takes callbacks of its own package alone."""
    try:
        return require("lightning.pytorch", extra="lightning", who="lightning_callback").Callback
    except MissingPackageError:
        return require("pytorch_lightning", extra="lightning", who="lightning_callback").Callback


def _model(trainer: Any, pl_module: Any) -> Any:
    """The module inside of the strategy's wrapper; a wrapper that shards is refused by the monitor."""
    wrapped = trainer.strategy.model
    return pl_module if wrapped is None else wrapped


def _only_optimizer(trainer: Any) -> Any:
    if len(trainer.optimizers) != 1:
        must = "the fit must have one optimizer"
        hint = "open a normwise.Monitor for each model and optimizer in the training step's module instead"
        raise ArgumentError(explain("lightning_callback", must, f"{len(trainer.optimizers)}", hint))
    return trainer.optimizers[0]
