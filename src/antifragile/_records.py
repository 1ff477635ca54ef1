"""Frozen records to JSON data and back, checked against the types of their fields.

For files that we write and read again, and for what a child process answers: a record is made of
records, tuples, lists, dictionaries, enums, numbers and text. A dictionary whose keys are no text
becomes a list of pairs. A field marked ``metadata=MAY_BE_ABSENT`` is left out while it is None, so
that files which lack its key are written as they were read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

MAY_BE_ABSENT = {"may be absent": True}

_Reader = Callable[[Any], Any]


def read_json(path: Path) -> Any:
    """JSON data of a file.

    Raises:
        ValueError: It is not JSON in UTF-8, nested too deeply, or holds NaN or an infinity.
        OSError: It cannot be read.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is no number that we write")
    return number


def to_json(value: Any) -> Any:
    """JSON data of a record: records become dictionaries, tuples lists, enums text."""
    if isinstance(value, (tuple, list)):
        return [item if type(item) in _PLAIN else to_json(item) for item in value]
    if isinstance(value, Mapping):
        return _mapping_to_json(value)
    if is_dataclass(value):
        named = [(item, getattr(value, item.name)) for item in fields(value)]
        return {
            item.name: part if type(part) in _PLAIN else to_json(part)
            for item, part in named
            if part is not None or item.metadata != MAY_BE_ABSENT
        }
    return str(value) if isinstance(value, StrEnum) else value


def from_json(kind: Any, value: Any) -> Any:
    """A record, or another value of a type, from JSON data; unknown keys are ignored.

    Args:
        kind: The type; a union is of one type and None, and `object` is any plain value, in which
            a list becomes a tuple.
        value: The data.

    Raises:
        KeyError: A key is missing.
        TypeError: A value has another type.
        ValueError: A value is not in its enum, or a tuple has another length.
    """
    return _reader(kind)(value)


_PLAIN = frozenset({int, str, float, bool, NoneType})


def _mapping_to_json(value: Mapping[Any, Any]) -> Any:
    if all(isinstance(key, str) for key in value):
        return {str(key): to_json(item) for key, item in value.items()}
    return [[to_json(key), to_json(item)] for key, item in value.items()]


@cache
def _reader(kind: Any) -> _Reader:
    """A function that reads values of a type."""
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _record_reader(kind)
    if origin is UnionType:
        return _optional_reader(parts[0])
    if origin is tuple:
        return _tuple_reader(kind, parts)
    if origin is list:
        return _list_reader(kind, parts[0])
    if origin in (dict, Mapping):
        return _mapping_reader(kind, *parts)
    if origin is None and isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind
    return _plain_value if kind is object else _simple_reader(kind, is_simple=origin is None)


def _simple_reader(kind: Any, *, is_simple: bool) -> _Reader:
    accepted = (int, float) if kind is float else (kind,)

    def read(value: Any) -> Any:
        """A whole number is also a float, a bool is no number."""
        fits = is_simple and isinstance(value, accepted)
        if not fits or isinstance(value, bool) != (kind is bool):
            raise _wrong(kind, value)
        return value

    return read


def _plain_value(value: Any) -> Any:
    """A number, a text, None, or a tuple of them."""
    if isinstance(value, list):
        return tuple(map(_plain_value, value))
    if type(value) not in _PLAIN:
        raise _wrong("a plain value", value)
    return value


def _optional_reader(kind: Any) -> _Reader:
    read = _reader(kind)
    return lambda value: None if value is None else read(value)


def _tuple_reader(kind: Any, parts: tuple[Any, ...]) -> _Reader:
    if parts[-1] is Ellipsis:
        read_list = _list_reader(kind, parts[0])
        return lambda value: tuple(read_list(value))
    readers = tuple(map(_reader, parts))

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong(kind, value)
        return tuple(item(part) for item, part in zip(readers, value, strict=True))

    return read


def _list_reader(kind: Any, part: Any) -> _Reader:
    read_part = _reader(part)

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong(kind, value)
        if part is int and all(type(item) is int for item in value):
            return value
        return [read_part(item) for item in value]

    return read


def _mapping_reader(kind: Any, key: Any, part: Any) -> _Reader:
    read_key, read_part = _reader(key), _reader(part)
    is_text = isinstance(key, type) and issubclass(key, str)

    def read(value: Any) -> Any:
        if isinstance(value, dict) and (is_text or not value):
            return {read_key(k): read_part(v) for k, v in value.items()}
        if is_text or not isinstance(value, list):
            raise _wrong(kind, value)
        pairs = [pair(item) for item in value]
        return {read_key(k): read_part(v) for k, v in pairs}

    def pair(item: Any) -> tuple[Any, Any]:
        if not isinstance(item, list) or len(item) != 2:
            raise _wrong("a pair", item)
        return item[0], item[1]

    return read


def _record_reader(kind: Any) -> _Reader:
    hints = get_type_hints(kind)
    known = [(item.name, _is_required(item)) for item in fields(kind)]
    readers: dict[str, _Reader] = {}  # made when first needed: a record may hold its own kind

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        if not readers:
            readers.update({name: _reader(hints[name]) for name, _ in known})
        names = [name for name, is_required in known if is_required or name in value]
        return kind(**{name: readers[name](value[name]) for name in names})

    return read


def _wrong(kind: Any, value: object) -> TypeError:
    return TypeError(f"expected {kind}; got {value!r:.60}")


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING
