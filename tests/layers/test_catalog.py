"""The catalog says something of every layer, and the contract runs over every layer that it names."""

from __future__ import annotations

import re

import pytest
from torch import nn

from normwise import layers
from normwise.layers._fused import Fused
from normwise.layers.catalog import ENTRIES, FAMILIES, Entry
from normwise.testing.cases import all_cases

NAMED = {name for entry in ENTRIES for name in entry.names}


def test_every_public_layer_is_there() -> None:
    public = {name for name in layers.__all__ if _is_layer(name)}
    # WeightNorm is what `weight_norm` registers: a part of a layer, which the functions are in the catalog for.
    # Linear normalizes and drops nothing.
    assert public - NAMED == {"WeightNorm", "Linear"}
    assert len(NAMED) == sum(len(entry.names) for entry in ENTRIES), "a name is there twice"


def _is_layer(name: str) -> bool:
    found = getattr(layers, name)
    return isinstance(found, type) and issubclass(found, nn.Module) and not issubclass(found, Fused)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_is_whole(entry: Entry) -> None:
    for name in entry.names:
        assert hasattr(layers, name), name
        assert (getattr(layers, name).__doc__ or "").strip(), name
    for text in (entry.formula, entry.paper, entry.when, entry.evidence, entry.inputs):
        assert text.strip()
        assert "\n" not in text
    if _is_layer(entry.names[0]):
        assert re.search(r"\d{4}", entry.paper), "a paper has a year"
    for fused in re.findall(r"\w+NormAct\w*", entry.fused.replace("#", "2")):
        assert issubclass(getattr(layers, fused), Fused)


def test_the_contract_runs_over_every_entry() -> None:
    covered = {name.split(",")[0] for name in all_cases()}
    assert {name for name in NAMED - covered if _is_layer(name)} <= {"EmbeddingDropout"}  # takes integers


def test_families_are_not_empty() -> None:
    assert all(FAMILIES.values())
