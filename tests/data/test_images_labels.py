from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normwise.data.dataset import Dataset
from normwise.data.images import load_images
from normwise.errors import ArgumentError, DataError, UnknownNameError


def _warnings(data: Dataset) -> tuple[str, ...]:
    """All but that the classes of a test are small."""
    return tuple(said for said in data.warnings if "too few to tell" not in said)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMWISE_CACHE", str(tmp_path_factory.mktemp("cache")))


def _paint(root: Path, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (4, 6), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)


def _table(
    path: Path, rows: Sequence[Sequence[object]], separator: str = ",", encoding: str = "utf-8"
) -> None:
    path.write_text("\n".join(separator.join(map(str, row)) for row in rows) + "\n", encoding=encoding)


def _load(root: Path, target: str | None = None) -> Dataset:
    return load_images(root, task=None, target=target)


def _labels(data: Dataset) -> list[str]:
    return [data.classes[int(code)] for code in data._target.values]


@pytest.mark.parametrize(
    "written",
    [
        "{name}",
        "{stem}",
        "./{name}",
        "photos/{name}",
        "/data/somewhere/{name}",
        "C:\\photos\\{name}",
        " {name} ",
    ],
)
@pytest.mark.parametrize("folder", ["", "images/", "data/images/"])
def test_labels_beside_flat_images(tmp_path: Path, written: str, folder: str) -> None:
    names = [f"{folder}{index}.png" for index in range(12)]
    _paint(tmp_path, names)
    rows = [(written.format(name=f"{i}.png", stem=i), "cat" if i % 3 else "dog") for i in reversed(range(12))]
    table = folder.removesuffix("images/") + "labels.csv"
    _table(tmp_path / table, [("file", "what"), *rows])
    data = _load(tmp_path)
    assert _labels(data) == ["cat" if index % 3 else "dog" for index in range(12)]
    assert data.target == "what"
    assert data.notes == (f"labels are the column 'what' of {table!r}, by 'file'",)


def test_names_that_are_numbers_and_labels_that_are_numbers(tmp_path: Path) -> None:
    _paint(tmp_path, [f"{index}.png" for index in range(12)])
    _table(tmp_path / "train.tsv", [("label", "id"), *((index % 2, index) for index in range(12))], "\t")
    data = _load(tmp_path)
    assert (data.task, data.target, data.classes) == ("classification", "label", ("0", "1"))
    assert _labels(data) == [str(index % 2) for index in range(12)]


def test_a_table_without_a_header(tmp_path: Path) -> None:
    _paint(tmp_path, [f"{index}.png" for index in range(12)])
    _table(tmp_path / "labels.csv", [(f"{index}.png", "ab"[index % 2]) for index in range(12)])
    data = _load(tmp_path)
    assert (data.rows, data.target, data.classes) == (12, "column 2", ("a", "b"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk"])
@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_a_table_in_chinese(tmp_path: Path, encoding: str, separator: str) -> None:
    _paint(tmp_path, [f"图片/第{index}张.png" for index in range(12)])
    rows = [
        ("文件名", "作者", "类别"),
        *((f"第{index}张.png", "王", "猫狗"[index % 2]) for index in range(12)),
    ]
    _table(tmp_path / "标签.csv", rows, separator, encoding)
    data = _load(tmp_path)
    assert (data.target, data.classes) == ("类别", ("狗", "猫"))


def test_a_quantity_is_a_regression(tmp_path: Path) -> None:
    _paint(tmp_path, [f"{index}.png" for index in range(12)])
    _table(
        tmp_path / "ages.csv", [("file", "age"), *((f"{index}.png", 20 + index / 3) for index in range(12))]
    )
    data = _load(tmp_path)
    assert (data.task, data.target) == ("regression", "age")
    np.testing.assert_allclose(data._target.values, 20 + np.arange(12) / 3)


def test_what_does_not_match_is_said(tmp_path: Path) -> None:
    _paint(tmp_path, [f"{index}.png" for index in range(14)])
    rows = [(f"{index}.png", "ab"[index % 2]) for index in range(12)]
    rows += [("gone.png", "a"), ("12.png", ""), ("0.png", "a")]
    _table(tmp_path / "labels.csv", [("file", "label"), *rows])
    data = _load(tmp_path)
    assert data.rows == 12
    assert data.notes == (
        "labels are the column 'label' of 'labels.csv', by 'file'",
        "1 row of 'labels.csv' without a file ignored",
        "1 row of 'labels.csv' without a label ignored",
        "2 files that are no labelled images ignored: '12.png', '13.png'",
    )


def test_as_competitions_lay_it_out(tmp_path: Path) -> None:
    _paint(
        tmp_path,
        [f"train/{index}.png" for index in range(12)] + [f"test/{index}.png" for index in range(90, 96)],
    )
    _table(tmp_path / "train.csv", [("id", "breed"), *((index, "ab"[index % 2]) for index in range(12))])
    _table(tmp_path / "sample_submission.csv", [("id", "breed"), *((index, "a") for index in range(90, 96))])
    data = _load(tmp_path)
    assert (data.rows, data.classes, data._dealing.fixed) == (12, ("a", "b"), None)


def test_parts_by_folder_and_by_column(tmp_path: Path) -> None:
    names = [f"{'test' if index > 8 else 'train'}/{index}.png" for index in range(12)]
    _paint(tmp_path, names)
    _table(tmp_path / "all.csv", [("path", "label"), *((name, "ab"[i % 2]) for i, name in enumerate(names))])
    assert np.bincount(_load(tmp_path)._dealing.fixed + 1).tolist() == [9, 0, 0, 3]
    parts = ["Train"] * 6 + ["val"] * 3 + ["test"] * 3
    rows = [("path", "split", "label"), *((name, parts[i], "ab"[i % 2]) for i, name in enumerate(names))]
    _table(tmp_path / "all.csv", rows)
    data = _load(tmp_path)
    assert np.bincount(data._dealing.fixed + 1).tolist() == [0, 6, 3, 3]
    assert (
        "every split has the parts of the column 'split': train (6 images), validation (3 images), test (3 images)"
        in data.notes
    )


def test_class_folders_win_over_a_table_and_a_target_over_them(tmp_path: Path) -> None:
    names = [f"{'half 1' if index < 6 else 'half 2'}/{index}.png" for index in range(12)]
    _paint(tmp_path, names)
    rows = [("image_id", "dx", "age"), *((index, "ab"[index % 2], 30 + index % 5) for index in range(12))]
    _table(tmp_path / "metadata.csv", rows)
    data = _load(tmp_path)
    assert data.classes == ("half 1", "half 2")
    assert _warnings(data) == (
        "'metadata.csv' names the images too, with other labels than their folders, which are taken as the classes; "
        "`target` takes one of its columns: 'image_id', 'dx', 'age'",
    )
    assert _load(tmp_path, target="dx").classes == ("a", "b")
    assert _warnings(_load(tmp_path, target="dx")) == ()


def test_a_table_that_says_what_the_folders_say_is_no_matter(tmp_path: Path) -> None:
    names = [f"{'ab'[index % 2]}/{index}.png" for index in range(12)]
    _paint(tmp_path, names)
    _table(tmp_path / "list.csv", [("path", "code"), *((name, 7 + i % 2) for i, name in enumerate(names))])
    assert _warnings(_load(tmp_path)) == ()


def _flat(root: Path, *tables: Sequence[Sequence[object]]) -> None:
    _paint(root, [f"{index}.png" for index in range(12)])
    for number, rows in enumerate(tables):
        _table(root / f"{number}.csv", rows)


_GOOD = [("file", "label"), *((f"{index}.png", "ab"[index % 2]) for index in range(12))]
_WIDE = [("file", "age", "sex"), *((f"{index}.png", index, "mf"[index % 2]) for index in range(12))]


@pytest.mark.parametrize(
    ("tables", "target", "error", "message"),
    [
        ([_GOOD, _GOOD], None, DataError, "Got '0.csv', '1.csv'. hint: leave only the one that counts"),
        ([_WIDE], None, DataError, "must clearly be the label. Got 'age', 'sex'. hint: name it by `target`"),
        ([_WIDE], "seks", UnknownNameError, "unknown label column of 0.csv 'seks'. Did you mean 'sex'"),
        ([], "label", ArgumentError, "`target` needs a table .* Got target='label' and no such table"),
        (
            [[*_GOOD, ("0.png", "b")]],
            None,
            DataError,
            "give each image one label. Got 'a' and 'b' for '0.png'",
        ),
        ([[("file", "label"), *((f"{i}.png", "") for i in range(12))]], None, DataError, "Got no label"),
        (
            [[("file", "label"), *((f"{i}.png", "a") for i in range(12))]],
            None,
            DataError,
            "at least two values",
        ),
        (
            [[("file", "label"), *((f"x{i}.png", "a") for i in range(12))]],
            None,
            DataError,
            "no table of labels beside",
        ),
        ([[("label",), ("a",), ("b",)]], None, DataError, "no table of labels beside"),
        ([[("file", "label")]], None, DataError, "no table of labels beside"),
        ([[('"file', "label"), *_GOOD[1:]]], None, DataError, "no table of labels beside"),
    ],
)
def test_tables_that_are_refused(
    tmp_path: Path,
    tables: list[Sequence[Sequence[object]]],
    target: str | None,
    error: type[Exception],
    message: str,
) -> None:
    _flat(tmp_path, *tables)
    with pytest.raises(error, match=message) as caught:
        _load(tmp_path, target)
    assert "\n" not in str(caught.value)
