import pytest

from normwise.augment import MIXES, OPERATIONS
from normwise.compare.variant import AUGMENTATIONS, SCHEMES, Variant, parse_variant, product
from normwise.errors import ArgumentError
from normwise.norms import KINDS
from normwise.report import names


def test_a_product_holds_every_combination_once() -> None:
    variants = product(
        norms=("none", "batch", "weight", "orthogonal", "evonorm_b0"),
        positions=("before", "after"),
        dropouts=(0.0, 0.2),
        l2=(0.0, 1e-3),
    )
    assert len(variants) == len({variant.name for variant in variants}) == 6 * 4
    assert all(v.position == "before" for v in variants if v.norm != "batch")


def test_a_name_says_all_that_differs_from_a_plain_network() -> None:
    variant = Variant(
        norm="group:4",
        position="after",
        dropout=0.1,
        l1=1e-4,
        l2=1e-3,
        weight_decay=0.01,
        augment=("flip", "rotate:10"),
        norm_output=True,
    )
    assert variant.name == (
        "group:4 after + output + dropout 0.1 + L1 0.0001 + L2 0.001 + decay 0.01 + flip, rotate:10"
    )
    assert Variant().name == "none"


def test_a_position_that_makes_no_difference_is_no_part_of_a_name() -> None:
    assert Variant(norm="ghost:16", position="after").name == "ghost:16 after"
    for norm in ("none", "weight", "spectral", "evonorm_s0:4"):
        assert Variant(norm=norm, position="after").name == norm


def test_no_two_things_share_a_name_and_all_are_spelled_out() -> None:
    """An initialization and a norm are called orthogonal, an augmentation and a norm scale."""
    variants = [
        *(Variant(norm=norm) for norm in KINDS),
        *(Variant(init=scheme) for scheme in SCHEMES),
        *(Variant(init=f"{scheme}:0.1") for scheme in SCHEMES),
        *(Variant(augment=(name,)) for name in AUGMENTATIONS),
        *(Variant(augment=(f"{name}:0.1",)) for name in AUGMENTATIONS),
    ]
    assert len({variant.name for variant in variants}) == len(variants)
    told = {variant: names.full_name(variant.name) for variant in variants}
    assert len(set(told.values())) == len(variants)
    for variant, words in told.items():
        if variant.norm != "none":
            assert words == KINDS[variant.norm].title
        elif variant.init:
            assert " initialization" in words
        elif variant.augment:
            assert words.startswith("augmentation (")


def test_a_variant_is_read_from_text() -> None:
    fields = parse_variant(
        "norm=group:4, dropout=0.2, augment=flip+rotate:10, position=after, norm_output=true"
    )
    assert Variant.model_validate(fields) == Variant(
        norm="group:4", dropout=0.2, augment=("flip", "rotate:10"), position="after", norm_output=True
    )
    assert parse_variant("norm=ghost:16,l2=0.1") == {"norm": "ghost:16", "l2": "0.1"}


@pytest.mark.parametrize("text", ["batch", "norm=batch,droput=0.1"])
def test_text_that_is_no_variant_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"--variant norm=batch,dropout=0\.2"):
        parse_variant(text)


def test_every_augmentation_for_images_and_tables_is_known_and_has_a_name_in_reports() -> None:
    fitting = {n for n, o in (OPERATIONS | MIXES).items() if {"images", "tables"} & set(o.kinds)}
    assert set(AUGMENTATIONS) == set(names._AUGMENTATIONS) == fitting
    assert Variant(augment=tuple(sorted(fitting))).augment == tuple(sorted(fitting))
