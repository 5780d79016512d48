"""Every layer under the contract; what a layer refuses is in its row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from normwise import layers as nw
from normwise.testing import BACKENDS, FEATURES, check_layer
from normwise.testing.cases import all_cases

CASES = all_cases()


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", CASES)
def test_contract(name: str, feature: str) -> None:
    check_layer(CASES[name], feature)


# Where kernels run, the fastest binding has run above: the portable one is the other.
@pytest.mark.parametrize("feature", [name for name, backend in BACKENDS.items() if backend == "cpu"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.backends])
def test_contract_of_the_portable_kernels(name: str, feature: str) -> None:
    named = CASES[name].backends or {}
    backends = {key: "portable" if backend == "cpu" else backend for key, backend in named.items()}
    check_layer(replace(CASES[name], backends=backends), feature)


def test_every_normalization_has_a_row() -> None:
    names = {name.split(",")[0] for name in CASES}
    public = {
        name
        for name in nw.__all__
        if isinstance(kind := getattr(nw, name), type) and issubclass(kind, nn.Module)
    }
    # A parametrization, a layer of integers, and one that normalizes nothing; each has tests of its own.
    assert public - names == {"WeightNorm", "EmbeddingDropout", "Linear"}
