"""Checks of ways to run a layer: recomputed, without autograd, in several threads at once."""

from __future__ import annotations

import contextvars
import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normwise.testing._case import LayerCase, draws, require, run, step
from normwise.testing.tolerance import assert_close

_THREADS = 4


def inference_mode(case: LayerCase) -> None:
    """Inference mode gives the outputs and buffers of other modes, and a layer that can be trained afterwards."""
    for training in (True, False):
        layer, other = case.layer(training=training), case.layer(training=training)
        with torch.inference_mode():
            output = run(layer, case.input())
            again = run(layer, output.clone()) if output.shape == case.shape else output
        assert_close(output, run(other, case.input()), what="output in inference mode")
        if output.shape == case.shape:
            assert_close(again, run(other, output.clone()), what="output for an inference tensor")
        ours, theirs = (step(each, case.input(seed=1)) for each in (layer, other))
        for name, value in theirs.items():
            assert_close(ours[name], value, what=f"{name} after inference (training={training})")


def threads(case: LayerCase) -> None:
    """Python threads at once, each with a layer and a number of torch's threads of its own, give what one gives.

    A layer that draws random numbers runs in evaluation: threads share torch's generator.
    """
    layer = case.layer(training=not draws(case))
    expected = step(copy.deepcopy(layer), case.input())
    start = threading.Barrier(_THREADS, timeout=60)

    def work(count: int) -> dict[str, Tensor]:
        torch.set_num_threads(count)
        mine = copy.deepcopy(layer)
        start.wait()
        return step(mine, case.input())

    count = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), ThreadPoolExecutor(_THREADS) as pool:
        # A thread does not inherit its maker's context, in which the back end is asked for.
        futures = [pool.submit(contextvars.copy_context().run, work, 1 + n % 3) for n in range(_THREADS)]
        results = [future.result() for future in futures]
    torch.set_num_threads(count)
    for result in results:
        for name, value in expected.items():
            assert_close(result[name], value, what=f"{name} in a thread")


def determinism(case: LayerCase) -> None:
    """The same input and the same seed give the same bits: outputs, gradients and buffers."""
    for training in (True, False):
        first, second = (step(case.layer(training=training), case.input()) for _ in range(2))
        for name, value in first.items():
            require(torch.equal(second[name], value), f"{name} differs from run to run (training={training})")


def checkpointed(case: LayerCase) -> None:
    """Both kinds of checkpointing give outputs, gradients and buffers of one pass: a recomputation moves none again."""
    for reentrant in (True, False):
        expected = step(case.layer(), case.input())
        layer = case.layer()
        ours = step(_Checkpointed(layer, reentrant), case.input())
        for name, value in expected.items():
            key = name if name in ours else name.replace("gradient of ", "gradient of layer.")
            key = key.replace("buffer ", "buffer layer.")
            assert_close(ours[key], value, what=f"{name}, checkpointed (reentrant={reentrant})")


class _Checkpointed(nn.Module):
    def __init__(self, layer: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.layer = layer
        self.reentrant = reentrant

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = checkpoint(self.layer, input, use_reentrant=self.reentrant)
        return output
