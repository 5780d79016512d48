"""Instruction sets agree within the tolerance table, and are chosen by name."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from normwise.kernels.cpu import _portable
from normwise.kernels.cpu.call import ACTIVATIONS


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    before = _portable.isa()
    yield
    _portable.use_isa(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
def test_they_agree(raw: ModuleType, family: str, layout: str, dtype: torch.dtype) -> None:
    for activation in ACTIVATIONS:
        problem = raw.Problem(
            family, layout, 7, 34, 19, activation=activation, residual=True, rate=0.2, dtype=dtype
        )
        values, results = raw.drawn(problem), []
        raw.expected(problem, values, None)  # no gradient where a ReLU's kink lies within rounding
        for name in raw.ISAS:
            _portable.use_isa(name)
            assert _portable.isa() == name
            results.append(raw.run(problem, values))
        for other in results[1:]:
            assert torch.equal(results[0].keep, other.keep)
            for name in ("y", "dx", "dresidual", "dweight", "dbias"):
                raw.assert_close(
                    getattr(other, name), getattr(results[0], name), what=f"{name} of {problem}", scale=20.0
                )


def test_one_that_does_not_exist_is_refused() -> None:
    before = _portable.isa()
    assert not _portable.has_isa("mmx")
    with pytest.raises(ValueError, match="no kernels for mmx"):
        _portable.use_isa("mmx")
    assert _portable.isa() == before
