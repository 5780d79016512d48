from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pytest

from normwise.data.text import read_text
from normwise.errors import DataError

CHINESE = "客户编号,年龄,城市,流失\n一,三十,北京,是\n二,四十,上海,否\n"
GERMAN = "Größe,Müller\nschön,Straße\n"


def _read(tmp_path: Path, data: bytes, name: str = "a.csv") -> tuple[str, tuple[str, ...]]:
    (tmp_path / name).write_bytes(data)
    text, notes = read_text(tmp_path / name)
    return text.decode(), notes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("text", [CHINESE, GERMAN, "a,😀\n1,2\n"])
def test_utf8_with_and_without_its_mark_needs_no_note(tmp_path: Path, text: str, encoding: str) -> None:
    assert _read(tmp_path, text.encode(encoding)) == (text, ())


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf16_by_its_mark(tmp_path: Path, mark: bytes) -> None:
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    assert _read(tmp_path, mark + CHINESE.encode(encoding)) == (CHINESE, ("the text is in UTF-16",))


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "gb2312"])
def test_chinese_that_is_no_utf8(tmp_path: Path, encoding: str) -> None:
    text, notes = _read(tmp_path, CHINESE.encode(encoding))
    assert text == CHINESE
    assert notes == ("the text is no UTF-8 and was read as GBK (GB18030)",)


@pytest.mark.parametrize("text", [GERMAN, "café,été\nnaïve,1 €\n", "a,ü\nb,éé\n", "name,n\nElörö,1\n"])
def test_western_text_that_is_no_utf8(tmp_path: Path, text: str) -> None:
    read, notes = _read(tmp_path, text.encode("cp1252"))
    assert read == text
    assert notes == ("the text is no UTF-8 and was read as Windows-1252 (Latin-1)",)


@pytest.mark.parametrize(
    "data",
    [
        "имя,город\nИван,Москва\nПётр,Казань\n".encode("cp1251"),
        "名前,都市\nたなか,とうきょう\n".encode("shift-jis"),
        CHINESE.encode()[:-9] + b"\xff\n",
    ],
)
def test_encodings_that_cannot_be_told_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(
        DataError, match=r"must be text in UTF-8. Got byte 0x.. at position \d+, and no text as"
    ):
        _read(tmp_path, data)


def test_the_position_of_the_first_wrong_byte(tmp_path: Path) -> None:
    # Behind the first piece that is decoded, and within a character that two pieces share.
    data = b"a" + "é".encode() * 2_100_000 + b"\x81\x00"[:1] + "é".encode()
    with pytest.raises(DataError, match="at position 4,200,001,"):
        _read(tmp_path, data)


def test_gzip(tmp_path: Path) -> None:
    assert _read(tmp_path, gzip.compress(CHINESE.encode()), "a.csv.gz")[0] == CHINESE
    with pytest.raises(DataError, match="must be a gzip file"):
        _read(tmp_path, b"a,b\n1,2\n", "a.csv.gz")
    with pytest.raises(DataError, match="must be a gzip file"):
        _read(tmp_path, gzip.compress(CHINESE.encode() * 50)[:60], "a.csv.gz")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1,\0\n", "a zero byte"),
        (b" \n\n", "an empty file"),
        (codecs.BOM_UTF8, "an empty file"),
        (codecs.BOM_UTF16_LE + b"a\0b", "must be text in UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "a zero byte"),
    ],
)
def test_what_is_no_text(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _read(tmp_path, data)
