"""Checks under transforms: a batched map, a compiled graph, an exported program."""

from __future__ import annotations

import torch

from normwise.testing._case import LayerCase, cotangent, run
from normwise.testing.tolerance import assert_close


def vmap(case: LayerCase) -> None:
    """In evaluation a map over a stack of batches gives what a loop gives."""
    layer = case.layer(training=False)
    stack = torch.stack([case.input(seed=seed) for seed in (0, 1, 2)])
    expected = torch.stack([layer(batch) for batch in stack])
    assert_close(torch.func.vmap(layer)(stack), expected, what="output of vmap")


def compiled(case: LayerCase) -> None:
    """One graph without a break gives outputs, gradients and buffers of eager mode, in both modes.

    The graph is traced through autograd and run by torch's operators: whether it can be captured is the
    layer's business, the code generator is not.
    """
    for training in (True, False):
        eager, other = case.layer(training=training), case.layer(training=training)
        torch.compiler.reset()
        graph = torch.compile(other, backend="aot_eager", fullgraph=True)
        results = []
        for layer in (eager, graph):
            input = case.input().requires_grad_()
            output = run(layer, input)
            output.backward(cotangent(output))  # type: ignore[no-untyped-call]
            if input.grad is None:
                raise AssertionError("no gradient reaches the input")
            results.append((output, input.grad))
        for name, ours, theirs in zip(("output", "gradient"), results[1], results[0], strict=True):
            assert_close(ours, theirs, what=f"{name}, compiled (training={training})")
        for (name, ours), (_, theirs) in zip(other.named_buffers(), eager.named_buffers(), strict=True):
            assert_close(ours, theirs, what=f"buffer {name}, compiled")


def exported(case: LayerCase) -> None:
    """An exported program in evaluation, with a batch of any size, gives the layer's output."""
    layer = case.layer(training=False)
    batch = torch.export.Dim("batch", min=2, max=1024)
    program = torch.export.export(layer, (case.input(),), dynamic_shapes=({0: batch},))
    for input in (case.input(), torch.cat([case.input(), case.input(seed=1)])):
        assert_close(program.module()(input), run(layer, input), what="output of the exported program")
