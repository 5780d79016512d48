"""Checks under transforms: a batched map, a symbolic trace, a compiled graph, an exported program."""

from __future__ import annotations

import logging
import warnings
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func

from normwise._optional import require as required
from normwise.kernels.registry import recorded, use_backend
from normwise.testing._backends import require_graph, runs
from normwise.testing._case import LayerCase, draws, require, run, step
from normwise.testing.tolerance import assert_close


def vmap(case: LayerCase) -> None:
    """A map over a stack of batches in evaluation, and over a stack of models in training, gives what a loop gives.

    Models that draw random numbers are left out of the second: a map draws others than a loop.
    """
    layer = case.layer(training=False)
    stack = torch.stack([case.input(seed=seed) for seed in (0, 1, 2)])
    expected = torch.stack([layer(batch) for batch in stack])
    with runs(case, "vmap"):
        actual = torch.func.vmap(layer)(stack)
    assert_close(actual, expected, what="output of vmap")
    if not draws(case):
        _ensemble(case, stack)


def _ensemble(case: LayerCase, stack: Tensor) -> None:
    """Models side by side, as of `torch.func.stack_module_state`: buffers move, each model's as if alone."""
    layer = case.layer()
    # By hand: every parametrized module has a class of its own, which torch's function does not allow.
    parameters = {
        name: torch.stack([value.detach()] * len(stack)) for name, value in layer.named_parameters()
    }
    buffers = {name: torch.stack([value] * len(stack)) for name, value in layer.named_buffers()}

    def call(parameters: dict[str, Tensor], buffers: dict[str, Tensor], input: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(layer, (parameters, buffers), (input,))
        return output

    with runs(case, "vmap"):
        actual = torch.func.vmap(call)(parameters, buffers, stack)
    alone = [case.layer() for _ in stack]
    expected = torch.stack([model(input) for model, input in zip(alone, stack, strict=True)])
    assert_close(actual, expected, what="output of an ensemble")
    for name, buffer in buffers.items():
        each = torch.stack([model.get_buffer(name) for model in alone])
        assert_close(buffer, each, what=f"{name} of an ensemble")


def symbolic(case: LayerCase) -> None:
    """A model traced by `torch.fx` in one mode does in both what the layer does: outputs, gradients, buffers."""
    for traced_in in (True, False):
        layer = case.layer(training=traced_in)
        graph: nn.Module = torch.fx.symbolic_trace(nn.Sequential(layer))
        for training in (True, False):
            ours = step(graph.train(training), case.input())
            theirs = step(nn.Sequential(case.layer(training=training)), case.input())
            require(ours.keys() == theirs.keys(), f"{sorted(ours)} instead of {sorted(theirs)}")
            for name, value in theirs.items():
                what = f"{name}, traced with training={traced_in} (training={training})"
                assert_close(ours[name], value, what=what)
            # Buffers that are no part of the state_dict start afresh, too.
            for name, buffer in nn.Sequential(case.layer()).named_buffers():
                graph.get_buffer(name).copy_(buffer)


def compiled(case: LayerCase) -> None:
    """One graph without a break gives outputs, gradients and buffers of eager mode, in both modes.

    The graph is traced through autograd and run by torch's operators: whether it can be captured is the
    layer's business, the code generator is not. The masks of a layer that draws are torch's, so they are in eager mode.
    """
    nodes: list[Any] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        nodes.extend(graph.graph.nodes)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep)
    torchs = draws(case)
    for training in (True, False):
        eager, other = case.layer(training=training), case.layer(training=training)
        with use_backend("aten") if torchs else nullcontext():
            expected = step(eager, case.input())
        torch.compiler.reset()
        with use_backend("auto"), recorded() as choices:
            other.compile(backend=backend, fullgraph=True)
            actual = step(other, case.input())
        require(case.backends is None or not choices, f"beside the graph ran {', '.join(map(str, choices))}")
        require("gradient of input" in actual, "no gradient reaches the input")
        for name, value in expected.items():
            assert_close(actual[name], value, what=f"{name}, compiled (training={training})")
    require_graph(case, "compile", nodes)


def exported(case: LayerCase) -> None:
    """An exported program in evaluation, with a batch of any size, gives the layer's output."""
    layer = case.layer(training=False)
    batch = torch.export.Dim("batch", min=2, max=1024)
    program = torch.export.export(layer, (case.input(),), dynamic_shapes=({0: batch},))
    for input in (case.input(), torch.cat([case.input(), case.input(seed=1)])):
        assert_close(program.module()(input), run(layer, input), what="output of the exported program")
    require_graph(case, "export", program.graph.nodes)


def onnx(case: LayerCase) -> None:
    """A program in ONNX, exported in evaluation and run by onnxruntime, gives the layer's output.

    Raises:
        MissingPackageError: onnxruntime or onnxscript are not installed.
    """
    runtime = required("onnxruntime", extra="onnx", who="check_layer")
    required("onnxscript", extra="onnx", who="check_layer")
    layer, input = case.layer(training=False), case.input()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), runs(case, "onnx"):
        # Torch's exporter calls functions of torch's that are deprecated, and says that torchvision is not there.
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(layer, (input,), dynamo=True, verbose=False)
        finally:
            logger.setLevel(level)
    if program is None:
        raise AssertionError("nothing was exported")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), options)
    (output,) = session.run(None, {session.get_inputs()[0].name: input.numpy()})
    assert_close(torch.as_tensor(output), run(layer, input), what="output of the ONNX program")
