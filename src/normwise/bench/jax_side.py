"""JAX as a rival, in a process of its own that needs nothing but JAX: it takes orders line by line, as JSON.

``{"case": {...}}`` builds a case and is answered by ``{"ready": true}`` or ``{"error": "..."}``; ``{"burst": n}`` runs
n calls and is answered by their mean seconds. Between orders it sleeps, so that bursts elsewhere are left alone.

Index convention: C is axis 1 of contiguous inputs (NCHW) and the last axis of channels_last ones (NHWC).
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

EPS = 1e-5
RATE = 0.5
STRENGTH = 1e-4


def operation(jax: Any, case: dict[str, Any]) -> tuple[Callable[..., Any], list[Any]]:
    """Return ``f(x, residual, params, key)`` and its parameters for one case.

    Raises:
        LookupError: there is no such operation here.
    """
    jnp = jax.numpy
    op, shape, trains = case["op"], case["shape"], case["mode"] == "training"
    last = case["layout"] == "channels_last"
    axis = len(shape) - 1 if last else 1
    rank, channels = len(shape), shape[1] if len(shape) > 1 else 0
    features = rank - 2 if last else rank - 1  # the axis that is the last one in torch's order
    everything = range(rank)
    positions = [a for a in everything if a not in (0, axis)]

    def along(parameter: Any, where: int) -> Any:
        return parameter.reshape([-1 if a == where else 1 for a in everything])

    def normalized(x: Any, axes: list[int], *, centre: bool = True) -> Any:
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if centre:
            wide = wide - wide.mean(axes, keepdims=True)
        return (wide * jax.lax.rsqrt((wide * wide).mean(axes, keepdims=True) + EPS)).astype(x.dtype)

    def affine(y: Any, params: list[Any], where: int) -> Any:
        y = y * along(params[0], where)
        return y + along(params[1], where) if len(params) > 1 else y

    def batch(x: Any, params: list[Any]) -> Any:
        if not trains:  # running statistics of 0 and 1, as in a new layer
            x = (x - along(params[2], axis)) * jax.lax.rsqrt(along(params[3], axis) + EPS)
            return affine(x.astype(case["dtype"]), params[:2], axis)
        return affine(normalized(x, [a for a in everything if a != axis]), params[:2], axis)

    def grouped(x: Any, params: list[Any]) -> Any:
        groups = case["groups"]
        if last:
            split = x.reshape(*x.shape[:-1], groups, channels // groups)
            y = normalized(split, [*range(1, rank - 1), rank]).reshape(x.shape)
        else:
            split = x.reshape(x.shape[0], groups, -1)
            y = normalized(split, [2]).reshape(x.shape)
        return affine(y, params, axis)

    def dropped(x: Any, key: Any) -> Any:
        if not trains:
            return x
        return jnp.where(jax.random.bernoulli(key, 1 - RATE, x.shape), x / (1 - RATE), 0).astype(x.dtype)

    relu = jax.nn.relu
    table: dict[str, tuple[Callable[..., Any], int, int]] = {  # the function, its parameters and their length
        "batch_norm": (lambda x, r, p, k: batch(x, p), 4, channels),
        "batch_norm_relu": (lambda x, r, p, k: relu(batch(x, p)), 4, channels),
        "batch_norm_add_relu": (lambda x, r, p, k: relu(batch(x, p) + r), 4, channels),
        "batch_norm_relu_dropout": (lambda x, r, p, k: dropped(relu(batch(x, p)), k), 4, channels),
        "group_norm": (lambda x, r, p, k: grouped(x, p), 2, channels),
        "group_norm_relu": (lambda x, r, p, k: relu(grouped(x, p)), 2, channels),
        "instance_norm": (lambda x, r, p, k: normalized(x, positions), 0, channels),
        "instance_norm_relu": (lambda x, r, p, k: relu(normalized(x, positions)), 0, channels),
        "layer_norm": (lambda x, r, p, k: affine(normalized(x, [features]), p, features), 2, shape[-1]),
        "layer_norm_relu": (
            lambda x, r, p, k: relu(affine(normalized(x, [features]), p, features)),
            2,
            shape[-1],
        ),
        "layer_norm_channels": (lambda x, r, p, k: affine(normalized(x, [axis]), p, axis), 2, channels),
        "rms_norm": (
            lambda x, r, p, k: affine(normalized(x, [features], centre=False), p, features),
            1,
            shape[-1],
        ),
        "rms_norm_relu": (
            lambda x, r, p, k: relu(affine(normalized(x, [features], centre=False), p, features)),
            1,
            shape[-1],
        ),
        "rms_norm_channels": (
            lambda x, r, p, k: affine(normalized(x, [axis], centre=False), p, axis),
            1,
            channels,
        ),
        "dropout": (lambda x, r, p, k: dropped(x, k), 0, channels),
    }
    op = op.removesuffix("_formula")  # what XLA compiles is one
    if op not in table:
        raise LookupError(f"{op} is not written in JAX here")
    function, count, length = table[op]
    # Weight, bias, running mean, running variance.
    return function, [jnp.full((length,), float(i in (0, 3)), case["dtype"]) for i in range(count)]


def prepare(jax: Any, case: dict[str, Any]) -> Callable[[], None]:
    """Build the inputs of a case, compile it and return one call, which waits for its result."""
    jnp, random = jax.numpy, jax.random
    if case["op"] in ("l1_penalty", "l2_penalty"):
        return _penalty(jax, case)
    function, params = operation(jax, case)
    shape = list(case["shape"])
    if case["layout"] == "channels_last":
        shape = [shape[0], *shape[2:], shape[1]]
    keys = random.split(random.key(0), 4)
    x, r, cotangent = (random.normal(key, shape, jnp.float32).astype(case["dtype"]) for key in keys[:3])
    residual = "add" in case["op"]

    def run(x: Any, r: Any, params: list[Any], cotangent: Any, count: Any) -> Any:
        key = random.fold_in(keys[3], count)
        if case["mode"] != "training":
            return function(x, r, params, key)
        if residual:
            y, back = jax.vjp(lambda *over: function(*over, key), x, r, params)
        else:
            y, back = jax.vjp(lambda x, params: function(x, r, params, key), x, params)
        return y, back(cotangent)

    count, compiled = 0, jax.jit(run)

    def call() -> None:
        nonlocal count
        count += 1
        jax.block_until_ready(compiled(x, r, params, cotangent, count))

    call()
    return call


def _penalty(jax: Any, case: dict[str, Any]) -> Callable[[], None]:
    jnp = jax.numpy
    number, *shape = case["shape"]
    keys = jax.random.split(jax.random.key(0), number)
    weights = [jax.random.normal(key, shape, jnp.float32).astype(case["dtype"]) for key in keys]

    def penalty(weights: list[Any]) -> Any:
        if case["op"] == "l1_penalty":
            return STRENGTH * sum(jnp.abs(w).sum() for w in weights)
        return STRENGTH / 2 * sum((w * w).sum() for w in weights)

    run = jax.jit(jax.value_and_grad(penalty))

    def call() -> None:
        jax.block_until_ready(run(weights))

    call()
    return call


def main() -> None:
    """Answer orders until the input ends."""
    threads = int(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        # JAX makes as many threads as it may use processors.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    jax = importlib.import_module("jax")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    print(json.dumps({"version": jax.__version__}), flush=True)
    call: Callable[[], None] | None = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if "case" in order:
                call = prepare(jax, order["case"])
                answer: dict[str, Any] = {"ready": True}
            elif call is None:
                answer = {"error": "no case"}
            else:
                calls = max(1, math.floor(order["burst"]))
                started = time.perf_counter()
                for _ in range(calls):
                    call()
                answer = {"seconds": (time.perf_counter() - started) / calls}
        except Exception as error:  # whatever JAX raises is this case's answer, not the end of the process
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
