"""Records to JSON and back, exactly: `loads(dumps(record), type(record)) == record`."""

from __future__ import annotations

from typing import Any, TypeVar

from normwise._optional import require
from normwise.errors import DataError, explain

Record = TypeVar("Record")


_adapters: dict[object, Any] = {}


def _adapter(kind: object) -> Any:
    """Building a validator takes milliseconds, and a run writes hundreds of records of one kind."""
    if kind not in _adapters:
        pydantic = require("pydantic", extra="compare", who="reading and writing records")
        _adapters[kind] = pydantic.TypeAdapter(kind)
    return _adapters[kind]


def dumps(record: object, *, indent: int | None = None) -> str:
    """Write a record as JSON text; values that are not finite are written as null, so store None instead."""
    return str(_adapter(type(record)).dump_json(record, indent=indent).decode())


def loads(text: str | bytes, kind: type[Record]) -> Record:
    """Read a record of the given kind.

    Raises:
        DataError: the text is not JSON, or not such a record.
    """
    try:
        record: Record = _adapter(kind).validate_json(text)
    except ValueError as error:
        first = str(error).splitlines()
        raise DataError(
            explain("normwise.results", f"the text must be a {kind.__name__} in JSON", "; ".join(first[:3]))
        ) from None
    return record
