"""A case with its tensors: both sides, what one call of each does, and how many bytes it has to move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from normwise.bench.case import DTYPES, Case
from normwise.bench.models import CLASSES, NETWORKS, copy_state, without_layers
from normwise.bench.ops import find_op
from normwise.results import Mode

Call = Callable[[], None]

LR = 1e-4
"""Small, so that a training that is only timed stays finite."""


@dataclass(frozen=True)
class Workload:
    """One case, ready to run.

    Attributes:
        ours, eager: the two sides, with equal parameters.
        inputs: what a call takes; the same tensors for all sides.
        cotangent: what a backward pass starts from, in the memory format of the input; None where it is a scalar loss.
        bare: of a training step the network without normalizations, activations and dropouts; else None.
        target: the classes of a training step.
        moved: bytes that a call reads or writes if it touches every tensor once; 0 where its time is not that of moving
            tensors.
        working_set: bytes of the tensors that a call has to do with.
    """

    mode: Mode
    ours: nn.Module
    eager: nn.Module
    inputs: tuple[Tensor, ...]
    cotangent: Tensor | None
    target: Tensor | None
    moved: int
    working_set: int
    bare: nn.Module | None = None

    def forward(self, module: nn.Module) -> Tensor:
        """Return the module's output, or the loss of a training step."""
        output: Tensor = module(*self.inputs)
        return output if self.target is None else cross_entropy(output, self.target)

    def bind(self, module: nn.Module) -> Call:
        """Return one call of a side: forward; forward and backward; or a training step.

        Gradients are cleared before every backward pass, so that none accumulates.
        """
        if self.mode == "evaluation":
            return self._evaluation(module)
        if self.mode == "step":
            return self._step(module)
        leaves = [tensor for tensor in self.inputs if tensor.requires_grad]
        leaves += [parameter for parameter in module.parameters() if parameter.requires_grad]
        inputs, cotangent = self.inputs, self.cotangent

        def call() -> None:
            for leaf in leaves:
                leaf.grad = None
            module(*inputs).backward(cotangent)

        return call

    def _evaluation(self, module: nn.Module) -> Call:
        inputs = self.inputs

        def call() -> None:
            with torch.inference_mode():
                module(*inputs)

        return call

    def _step(self, module: nn.Module) -> Call:
        optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9, fused=True)

        def call() -> None:
            optimizer.zero_grad(set_to_none=True)
            self.forward(module).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return call


def workload(case: Case, seed: int = 0) -> Workload:
    """Build a case's modules and tensors from a seed; torch's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _network(case) if case.is_network else _layer(case)


def _tensor(case: Case) -> Tensor:
    return torch.randn(case.shape).to(dtype=DTYPES[case.dtype], memory_format=case.memory_format)


def _sides(case: Case, ours: nn.Module, eager: nn.Module) -> tuple[nn.Module, nn.Module]:
    for module in (ours, eager):
        module.to(DTYPES[case.dtype]).train(case.mode != "evaluation")
    copy_state(eager, ours)
    return ours, eager


def _layer(case: Case) -> Workload:
    op = find_op(case.op)
    op.check(case.shape)
    trains = case.mode == "training"
    count = (1 + op.residual) * op.inputs
    inputs = tuple(_tensor(case).requires_grad_(trains) for _ in range(count))
    ours, eager = _sides(case, op.ours(case.shape), op.eager(case.shape))
    touched = op.forward + (op.backward if trains else 0)
    # Beside the tensors of the forward pass stand the gradients that come in and go out.
    held = max(op.forward, 1) + (trains * (1 + op.inputs))
    return Workload(
        mode=case.mode,
        ours=ours,
        eager=eager,
        inputs=inputs,
        cotangent=_tensor(case) if trains and op.inputs else None,
        target=None,
        moved=touched * case.bytes,
        working_set=held * case.bytes,
    )


def _network(case: Case) -> Workload:
    network = NETWORKS[case.op]
    ours, eager = _sides(case, network.ours(), network.eager())
    if case.layout == "channels_last":
        for module in (ours, eager):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = case.mode == "step"
    target = torch.randint(CLASSES, case.shape[:1]) if step else None
    bare = without_layers(eager) if step else None
    return Workload(case.mode, ours, eager, (_tensor(case),), None, target, moved=0, working_set=0, bare=bare)
