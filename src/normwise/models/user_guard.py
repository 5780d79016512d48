"""Run somebody else's code so that it leaves nothing behind: no output on stdout, no state, no training."""

from __future__ import annotations

import argparse
import builtins
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from normwise.models.user_draws import kept_random_states


class Stopped(BaseException):
    """The code did what nobody may do here; no `except Exception` of its own is to swallow it.

    Attributes:
        why: "trains", "asks" or "parses".
        said: what it said itself, if anything.
    """

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.said = said


@contextlib.contextmanager
def guarded(file: str, *, training: bool, loud: bool) -> Iterator[None]:
    """Run the block as if its file had been started without arguments, on nobody's keyboard.

    What it prints goes to stderr. Random states, torch's defaults, the current directory, `sys.argv` and the
    warning filters are as before afterwards; its warnings are shown (`loud`) or dropped, and never errors.

    Args:
        file: what `sys.argv` names.
        training: whether the block may train.
        loud: whether its warnings are shown.

    Raises:
        Stopped: it asked for input, parsed arguments that are not there, or trained where it must not.
    """
    stops: list[Stopped] = []

    def stop(why: str, said: str = "") -> NoReturn:
        stops.append(Stopped(why, said))
        raise stops[-1]

    with contextlib.ExitStack() as stack:
        stack.enter_context(stdout_to_stderr())
        stack.enter_context(kept_random_states())
        stack.enter_context(_kept_torch_state())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default" if loud else "ignore")
        put = stack.enter_context(_swaps())
        put(sys, "argv", [file])
        put(sys, "stdin", io.StringIO())
        put(sys, "dont_write_bytecode", True)
        put(builtins, "input", lambda *_: stop("asks"))
        put(argparse.ArgumentParser, "error", lambda _, message: stop("parses", message))
        if not training:
            put(torch.Tensor, "backward", lambda *_, **__: stop("trains"))
            put(torch.autograd, "backward", lambda *_, **__: stop("trains"))
            handle = register_optimizer_step_pre_hook(lambda *_: stop("trains"))
            stack.callback(handle.remove)
        stack.enter_context(torch.enable_grad())
        yield
    if stops:  # a bare `except:` of the code swallowed it
        raise stops[0]


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what the block and its child processes print to stderr."""
    for stream in (sys.stdout, sys.__stdout__):
        _flush(stream)
    try:
        kept = os.dup(1)
    except OSError:  # there is no file behind stdout, as in a windowed program
        kept = None
    with contextlib.redirect_stdout(sys.stderr):
        try:
            if kept is not None:
                os.dup2(2, 1)
            yield
        finally:
            if kept is not None:
                _flush(sys.__stdout__)
                os.dup2(kept, 1)
                os.close(kept)


def _flush(stream: Any) -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):  # none, closed, or a broken pipe
        stream.flush()


@contextlib.contextmanager
def _swaps() -> Iterator[Any]:
    """Hands out a function that sets an attribute until the block ends."""
    kept: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        kept.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    try:
        yield put
    finally:
        for owner, name, value in reversed(kept):
            setattr(owner, name, value)


@contextlib.contextmanager
def _kept_torch_state() -> Iterator[None]:
    folder = os.getcwd()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    deterministic = _deterministic()
    precision, anomaly = torch.get_float32_matmul_precision(), torch.is_anomaly_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        os.chdir(folder)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        if _deterministic() != deterministic:  # setting it imports the compiler, a second or more
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)
        if torch.is_anomaly_enabled() != anomaly:
            torch.autograd.set_detect_anomaly(anomaly)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
