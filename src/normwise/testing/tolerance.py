"""How far results may lie apart: one table, in units in the last place of the dtype."""

from __future__ import annotations

import torch
from torch import Tensor

ULPS: dict[torch.dtype, float] = {
    torch.float64: 256.0,  # sums of a few thousand terms in another order
    torch.float32: 64.0,
    torch.float16: 4.0,  # statistics are float32: only inputs and outputs are rounded
    torch.bfloat16: 4.0,
}
"""Allowed distance by dtype, in ulps of the largest expected value, since a sum errs like its terms."""


def assert_close(
    actual: Tensor, expected: Tensor, *, what: str = "values", factor: float = 1.0, scale: float = 0.0
) -> None:
    """Raise AssertionError unless the two agree within the table of `actual`'s dtype.

    They must have the same shape, and be NaN or infinite in the same places in the same way; integers and
    booleans must be equal.

    Args:
        actual: the result in question.
        expected: the trusted one, of any dtype.
        what: names the result in the message.
        factor: widens the table, with a reason where it is used.
        scale: magnitude of the terms where they cancel, so that the expected values do not show it.

    >>> assert_close(torch.ones(2), torch.ones(2, dtype=torch.float64))
    """
    if actual.shape != expected.shape:
        raise AssertionError(f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    got, want = actual.detach().double().cpu(), expected.detach().double().cpu()
    finite, inf = want.isfinite(), float("inf")
    # Infinities equal themselves; NaN gets a stand-in, which no infinity equals.
    odd_got, odd_want = (x[~finite].nan_to_num(nan=0.0, posinf=inf, neginf=-inf) for x in (got, want))
    if not (torch.equal(got.isfinite(), finite) and torch.equal(odd_got, odd_want)):
        raise AssertionError(f"{what}: not finite in other places or in another way than expected")
    if not bool(finite.any()):
        return
    error = (got[finite] - want[finite]).abs().max().item()
    ulps = ULPS.get(actual.dtype, 0.0)
    unit = torch.finfo(actual.dtype).eps if ulps else 1.0
    largest = max(want[finite].abs().max().item(), scale)
    if error > ulps * factor * unit * largest:
        distance = f"{error / (unit * largest):.3g} ulps of {actual.dtype}" if largest else f"{error:.3g}"
        raise AssertionError(f"{what}: off by {distance}, {ulps * factor:g} ulps allowed")


def assert_no_worse(
    actual: Tensor,
    rival: Tensor,
    exact: Tensor,
    *,
    what: str = "values",
    scale: float = 0.0,
    times: float = 1.0,
) -> None:
    """Raise AssertionError unless `actual` agrees with `exact` within the table, or errs no more than a rival does.

    Torch's own results can be far off in narrow dtypes and where terms cancel; agreeing with those would be no merit.

    Args:
        actual: the result in question.
        rival: another implementation's result for the same input, in the same dtype.
        exact: the result in float64.
        what: names the result in the message.
        scale: as in `assert_close`.
        times: how many times the rival's largest error is allowed.

    >>> assert_no_worse(torch.tensor([1.1]), torch.tensor([0.8]), torch.tensor([1.0]))
    """
    try:
        assert_close(actual, exact, what=what, scale=scale)
    except AssertionError:
        if actual.shape != exact.shape:
            raise
        mine, others = ((x.double() - exact.double()).abs().max().item() for x in (actual, rival))
        if not mine <= times * others:  # false for NaN
            raise
