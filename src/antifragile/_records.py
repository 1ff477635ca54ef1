"""Frozen records to JSON data and back, checked against the types of their fields.

For files that we write and read again, and for what a child process answers: a record is made of
records (a generic one with its types, as in ``Standing[int]``), tuples, lists, dictionaries, enums,
numbers and text. A dictionary whose keys are no text
becomes a list of pairs. A field marked ``metadata=MAY_BE_ABSENT`` is left out while it is None, so
that files which lack its key are written as they were read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

MAY_BE_ABSENT = {"may be absent": True}

_Reader = Callable[[Any], Any]


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


class RecordError(ValueError):
    """JSON data that is not of a type; its text is a clause that names the place in the data.

    Args:
        problem: A clause such as ``is 'x', expected a whole number``.
        place: Where, as in ``runs[3].seed``.
    """

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(f"{place or 'it'} {problem}")
        self._problem, self._place = problem, place

    def inside(self, outer: str) -> RecordError:
        """Return the error as seen from one level further out."""
        dot = "." if self._place and not self._place.startswith("[") else ""
        return RecordError(self._problem, f"{outer}{dot}{self._place}")


def from_json(kind: Any, value: Any) -> Any:
    """A record, or another value of a type, from JSON data; unknown keys are ignored.

    Args:
        kind: The type; a union is of one type and None, and `object` is any plain value, in which
            a list becomes a tuple.
        value: The data.

    Raises:
        RecordError: A key is missing, or a value has another type, is not in its enum, or is too
            large to compute with.
    """
    return _reader(kind)(value)


_PLAIN = frozenset({int, str, float, bool, NoneType})
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_MOST = 2**63  # of a whole number, as databases hold it
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    NoneType: "null",
}


def _mapping_to_json(value: Mapping[Any, Any]) -> Any:
    if all(isinstance(key, str) for key in value):
        return {str(key): to_json(item) for key, item in value.items()}
    return [[to_json(key), to_json(item)] for key, item in value.items()]


@cache
def _reader(kind: Any) -> _Reader:
    """A function that reads values of a type."""
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _record_reader(kind, {})
    if is_dataclass(origin):
        names = origin.__parameters__  # type: ignore[union-attr]  # a generic one has some
        return _record_reader(origin, dict(zip(names, parts, strict=True)))
    if origin in (UnionType, Union):
        return _optional_reader(parts[0])
    if origin is tuple:
        return _tuple_reader(parts)
    if origin is list:
        return _list_reader(parts[0])
    if origin in (dict, Mapping):
        return _mapping_reader(*parts)
    if origin is None and isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum_reader(kind)
    return _plain_value if kind is object else _simple_reader(kind, is_simple=origin is None)


def _simple_reader(kind: Any, *, is_simple: bool) -> _Reader:
    accepted = (int, float) if kind is float else (kind,)

    def read(value: Any) -> Any:
        """A whole number is also a float, a bool is no number."""
        fits = is_simple and isinstance(value, accepted)
        if not fits or isinstance(value, bool) != (kind is bool):
            raise _wrong(_WORDS.get(kind, str(kind)), value)
        if isinstance(value, str):
            return _writable(value)
        return _within_reach(value) if isinstance(value, int) else value

    return read


def _writable(value: str) -> str:
    """Refuse a text that no file, database or path takes."""
    if _UNWRITABLE.search(value):
        raise RecordError(f"is {_shown(value)}; expected a text without null characters, in UTF-8")
    return value


def _within_reach(value: int) -> int:
    if not -_MOST <= value < _MOST:
        raise RecordError(
            f"is a whole number of {value.bit_length()} bits, more than the 63 of any"
        )
    return value


def _enum_reader(kind: type[StrEnum]) -> _Reader:
    known = {member.value: member for member in kind}

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise _wrong(f"one of {', '.join(known)}", value)
        return known[value]

    return read


def _plain_value(value: Any) -> Any:
    """A number, a text, None, or a tuple of them."""
    if isinstance(value, list):
        return tuple(_each(_plain_value, value))
    if type(value) not in _PLAIN:
        raise _wrong("a plain value", value)
    return _within_reach(value) if isinstance(value, int) else value


def _optional_reader(kind: Any) -> _Reader:
    read = _reader(kind)
    return lambda value: None if value is None else read(value)


def _tuple_reader(parts: tuple[Any, ...]) -> _Reader:
    if parts[-1] is Ellipsis:
        read_list = _list_reader(parts[0])
        return lambda value: tuple(read_list(value))
    readers = tuple(map(_reader, parts))

    def read(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(readers):
            raise _wrong(f"a list of {len(readers)} items", value)
        return tuple(_at(f"[{n}]", readers[n], part) for n, part in enumerate(value))

    return read


def _list_reader(part: Any) -> _Reader:
    read_part = _reader(part)

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong("a list", value)
        if part is int and all(type(item) is int and -_MOST <= item < _MOST for item in value):
            return value
        return _each(read_part, value)

    return read


def _each(read: _Reader, values: list[Any]) -> list[Any]:
    found: list[Any] = []
    try:
        for value in values:
            found.append(read(value))
    except RecordError as error:
        raise error.inside(f"[{len(found)}]") from None
    return found


def _at(place: str, read: _Reader, value: Any) -> Any:
    try:
        return read(value)
    except RecordError as error:
        raise error.inside(place) from None


def _mapping_reader(key: Any, part: Any) -> _Reader:
    read_key, read_part = _reader(key), _reader(part)
    is_text = isinstance(key, type) and issubclass(key, str)

    def read(value: Any) -> Any:
        if isinstance(value, dict) and (is_text or not value):
            pairs = list(value.items())
        elif is_text or not isinstance(value, list):
            raise _wrong("an object" if is_text else "a list of pairs", value)
        else:
            pairs = _each(pair, value)
        return {
            _at(f"{k!r:.40}", read_key, k): _at(f"{k!r:.40}" if is_text else "", read_part, v)
            for k, v in pairs
        }

    def pair(item: Any) -> tuple[Any, Any]:
        if not isinstance(item, list) or len(item) != 2:
            raise _wrong("a pair", item)
        return item[0], item[1]

    return read


def _record_reader(kind: Any, types: Mapping[Any, Any]) -> _Reader:
    """A function that reads records of a kind, with the types of its parameters."""
    hints = {name: _concrete(hint, types) for name, hint in get_type_hints(kind).items()}
    known = [(item.name, _is_required(item)) for item in fields(kind)]
    readers: dict[str, _Reader] = {}  # made when first needed: a record may hold its own kind

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        if not readers:
            readers.update({name: _reader(hints[name]) for name, _ in known})
        values = {}
        try:
            for name, is_required in known:
                if name in value:
                    values[name] = readers[name](value[name])
                elif is_required:
                    raise RecordError("is missing")
        except RecordError as error:
            raise error.inside(name) from None
        return kind(**values)

    return read


def _concrete(hint: Any, types: Mapping[Any, Any]) -> Any:
    """Put types in place of a hint's parameters."""
    if hint in types:
        return types[hint]
    free = getattr(hint, "__parameters__", ())
    return hint[tuple(types[parameter] for parameter in free)] if free and types else hint


def _wrong(expected: str, value: object) -> RecordError:
    return RecordError(f"is {_shown(value)}; expected {expected}")


def _shown(value: object) -> str:
    """A value in a few letters."""
    if isinstance(value, dict | list):
        kind, parts = ("an object", "keys") if isinstance(value, dict) else ("a list", "items")
        return f"{kind} of {len(value)} {parts}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _MOST:
        return f"a whole number of {value.bit_length()} bits"
    named = {None: "null", True: "true", False: "false"}
    return named[value] if value is None or isinstance(value, bool) else f"{value!r:.60}"


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING
