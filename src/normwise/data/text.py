"""The text of a file as UTF-8 bytes, whatever its encoding and whether it is gzipped or not."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections import Counter
from pathlib import Path

from normwise.errors import DataError, explain

LARGEST_BYTES = 2**32
"""A gzipped file that unpacks to more is refused."""

_CHUNK = 2**22
_SAMPLE = 2**20

# What Western languages write beside ASCII. cp1252 makes letters of most bytes of any other encoding as well,
# but long runs of them.
_WESTERN = frozenset(
    "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœšžÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝŒŠŽ€£§°²³µ·½«»‘’“”„–—…\u00a0±×ªº¿¡®©™´"
)
_RUN = re.compile(r"[^\x00-\x7f]+")


def read_text(path: Path) -> tuple[bytes, tuple[str, ...]]:
    """Read a text file; return it as UTF-8 without a byte order mark, with lines that end in \\n or \\r\\n.

    UTF-8 and UTF-16 with its mark are told exactly. Otherwise the text is taken as GB18030 (which contains
    GBK and GB2312) if that gives everyday Chinese, then as cp1252 (which contains Latin-1) if that gives
    Western text; a note says so.

    Raises:
        DataError: an empty file, a damaged archive, zero bytes, an encoding that cannot be told.
    """
    data = _unpacked(path) if path.suffix.lower() == ".gz" else path.read_bytes()
    notes: tuple[str, ...] = ()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data, notes = _from_utf16(path, data), ("the text is in UTF-16",)
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    if b"\0" in data:
        raise DataError(explain("load", f"{path} must be text", "a zero byte", "save it as UTF-8 text"))
    position = _first_invalid(data)
    if position is not None:
        data, notes = _guessed(path, data, position)
    if b"\n" not in data:
        # Line ends of old Macintosh exports, which polars takes for one long line.
        data = data.replace(b"\r", b"\n")
    if not data.strip():
        raise DataError(explain("load", f"{path} must have a header line and rows", "an empty file"))
    return data, notes


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, PermissionError):
            raise
        got = str(error) or type(error).__name__
        raise DataError(explain("load", f"{path} must be a gzip file", got, "pack it again")) from error
    if len(data) > LARGEST_BYTES:
        raise DataError(explain("load", f"{path} must unpack to at most 4 GiB", "more", "keep fewer rows"))
    return data


def _from_utf16(path: Path, data: bytes) -> bytes:
    try:
        return data.decode("utf-16").encode()
    except UnicodeDecodeError as error:
        got = f"a byte order mark and then {error.reason} at position {error.start:,}"
        raise DataError(explain("load", f"{path} must be text in UTF-16", got, "save it as UTF-8")) from error


def _first_invalid(data: bytes) -> int | None:
    """Position of the first byte that is no UTF-8, if any; in pieces, since one rare character would make
    Python hold the whole text in four bytes a character."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    pending = 0
    for start in range(0, len(data), _CHUNK):
        end = min(start + _CHUNK, len(data))
        try:
            decoder.decode(data[start:end], final=end == len(data))
        except UnicodeDecodeError as error:
            return start - pending + error.start
        pending = len(decoder.getstate()[0])
    return None


def _guessed(path: Path, data: bytes, position: int) -> tuple[bytes, tuple[str, ...]]:
    for encoding, plausible, name in (
        ("gb18030", _is_chinese, "GBK (GB18030)"),
        ("cp1252", _is_western, "Windows-1252 (Latin-1)"),
    ):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if plausible(text):
            return text.encode(), (f"the text is no UTF-8 and was read as {name}",)
    got = (
        f"byte {data[position]:#04x} at position {position:,}, and no text as GB18030 or Windows-1252 either"
    )
    raise DataError(explain("load", f"{path} must be text in UTF-8", got, "save it as UTF-8"))


def _is_chinese(text: str) -> bool:
    """Whether nearly all that is not ASCII is everyday Chinese, the common part of GB2312: Western and
    Cyrillic bytes that happen to pair up give rare characters."""
    counts = Counter("".join(_RUN.findall(text[:_SAMPLE])) or "".join(_RUN.findall(text)))
    everyday = sum(number for character, number in counts.items() if _in_gb2312(character))
    ideographs = sum(number for character, number in counts.items() if "\u4e00" <= character <= "\u9fff")
    total = counts.total()
    return everyday >= 0.8 * total and ideographs >= 0.5 * total


def _in_gb2312(character: str) -> bool:
    try:
        code = character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    # Rows 16 to 55 hold the common ideographs by sound, 56 on the less common ones, up to 9 the signs.
    return len(code) == 2 and (0xB0 <= code[0] <= 0xD7 or code[0] <= 0xA9)


def _is_western(text: str) -> bool:
    """Whether what is not ASCII is of Western languages, in runs of one or two letters within a word."""
    runs = _RUN.findall(text[:_SAMPLE]) or _RUN.findall(text)
    characters = "".join(runs)
    known = sum(character in _WESTERN for character in characters)
    short = sum(len(run) <= 2 for run in runs)
    return known >= 0.95 * len(characters) and short >= 0.95 * len(runs)


def lines_of(data: bytes) -> io.TextIOWrapper:
    """The physical lines of UTF-8 text with their ends, as `csv.reader` wants them; shares the bytes."""
    return io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")
