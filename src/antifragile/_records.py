"""Frozen records to JSON data and back, checked against the types of their fields.

For files that we write and read again: a record is made of records, tuples, dictionaries, enums,
numbers and text. A field marked ``metadata=MAY_BE_ABSENT`` is left out while it is None, so that
files which lack its key are written as they were read.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

MAY_BE_ABSENT = {"may be absent": True}


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
    if is_dataclass(value):
        named = [(item, getattr(value, item.name)) for item in fields(value)]
        return {
            item.name: to_json(part)
            for item, part in named
            if part is not None or item.metadata != MAY_BE_ABSENT
        }
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def from_json(kind: Any, value: Any) -> Any:
    """A record, or another value of a type, from JSON data; unknown keys are ignored.

    Args:
        kind: The type; a union is of one type and None.
        value: The data.

    Raises:
        KeyError: A key is missing.
        TypeError: A value has another type.
        ValueError: A value is not in its enum, or a tuple has another length.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _record(kind, value)
    if origin is UnionType:
        return None if value is None else from_json(parts[0], value)
    if origin is tuple and isinstance(value, list):
        kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(from_json(part, item) for part, item in zip(kinds, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {from_json(parts[0], k): from_json(parts[1], v) for k, v in value.items()}
    if origin is None and issubclass(kind, StrEnum):
        return kind(value)
    if origin is not None or not _has_type(value, kind):
        raise TypeError(f"expected {kind}; got {value!r:.60}")
    return value


def _has_type(value: object, kind: type) -> bool:
    """Whether a plain value fits; a whole number is also a float, a bool is no number."""
    accepted = (int, float) if kind is float else (kind,)
    return isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)


def _record(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object; got {value!r:.60}")
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind) if f.name in value or _is_required(f)]
    return kind(**{name: from_json(hints[name], value[name]) for name in known})


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING
