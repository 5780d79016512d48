from __future__ import annotations

import pytest
import torch

from normwise.bench.bars import BARS
from normwise.bench.case import Case, own_case
from normwise.bench.catalogue import CASES, select
from normwise.bench.ops import OPS
from normwise.errors import ArgumentError, UnknownNameError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("batch_norm", "64"), "must have 2 to 5 axes"),
        (("batch_norm", "8x0x4x4"), "each at least 1"),
        (("batch_norm", "8xa"), "must be whole numbers"),
        (("batch_norm", "8x4", "channels_last"), "must go with 4 or 5 axes"),
        (("l1_penalty", "2x4x4", "contiguous", "float32", "evaluation"), "training for a penalty"),
    ],
)
def test_a_case_that_cannot_be_is_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        own_case(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [("bacth_norm", "8x4"), ("dropout", "8", "nhwc"), ("dropout", "8", "contiguous", "f32")],
)
def test_an_unknown_name_lists_the_known_ones(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UnknownNameError, match="Known: "):
        own_case(*arguments)


def test_every_case_of_the_catalogue_has_a_name_of_its_own_and_can_be_built() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    for case in CASES:
        if not case.is_network:
            OPS[case.op].check(case.shape)
            assert case.layout == "contiguous" or len(case.shape) in (4, 5)


def test_every_bar_has_cases_and_every_group_a_bar() -> None:
    assert {bar.group for bar in BARS} == {case.group for case in CASES if case.group}


def test_every_operation_is_timed_in_a_full_run() -> None:
    assert set(OPS) <= {case.op for case in CASES}


def test_cases_are_chosen_by_part_of_a_name_by_group_and_by_pattern() -> None:
    assert {case.group for case in select(("cnn",))} == {"cnn", "evaluation"}
    assert {case.op for case in select(("rms_norm",))} == {"rms_norm", "rms_norm_relu", "rms_norm_channels"}
    assert all(case.dtype == "bfloat16" for case in select(("dropout*bfloat16",)))
    assert 5 < len(select(quick=True)) < 30
    with pytest.raises(ArgumentError, match="see normwise bench --list"):
        select(("nothing_like_it",))


def test_a_volume_is_channels_last_in_its_own_way() -> None:
    assert Case("batch_norm", (2, 3, 4, 4, 4), "channels_last").memory_format == torch.channels_last_3d
