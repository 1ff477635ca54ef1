"""Answers of child processes: JSON data of a declared type, in a file of limited length.

    child:   value -> `write_value`   or   failure, reason -> `write_failure`
    parent:  `read_answer(path, kind)` -> the value, as the type that the job's target declares

The child runs others' code, so the parent believes nothing: it reads only a regular file, only up
to a length, and builds only records, tuples, dictionaries, enums, numbers and text of the declared
types. Whatever else lies there is a `MalformedAnswer`, whose message is one plain clause.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from antifragile._files import write_atomically
from antifragile._records import from_json, to_json
from antifragile._shown import hide_passwords

ANSWER, STAGE, WRITES = "answer", "stage", "writes"  # files in a job's scratch folder
MOST_BYTES = 64 * 2**20  # the trace of a transformer of 24 blocks has 0.4 MiB
_PART = 2**20
_MOST_DIGITS = 40
_MOST_WORDS = 1000  # characters
_MOST_LINES = 50
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class MalformedAnswer(Exception):
    """An answer that cannot be one of ours; the message says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A value that a child left, or the name of a failure with its reason."""

    value: Any = None
    failure: str | None = None
    reason: str = ""


def write_value(path: Path, value: object) -> None:
    """Leave a value for the parent.

    Raises:
        MalformedAnswer: It is not plain data.
    """
    try:
        text = json.dumps({"value": to_json(value)}, ensure_ascii=False)
    except RecursionError as error:
        raise MalformedAnswer("returned something that is nested too deep") from error
    except (TypeError, ValueError) as error:
        raise MalformedAnswer(f"returned something that is no plain data ({error})") from error
    path.write_bytes(text.encode("utf-8", "replace"))


def write_failure(path: Path, failure: str, reason: str) -> None:
    """Leave a failure for the parent."""
    text = json.dumps({"failure": failure, "reason": reason}, ensure_ascii=False)
    path.write_bytes(text.encode("utf-8", "replace"))


def read_answer(path: Path, kind: Any) -> Answer | None:
    """Read what a child left; None where it left nothing.

    Args:
        path: The file.
        kind: Type of the value.

    Raises:
        MalformedAnswer: There is something else than an answer.
    """
    content = _read_file(path)
    if content is None:
        return None
    data = _parsed(content, allows_nan=kind == dict[str, float])  # as metrics may be
    if not isinstance(data, dict) or not ("value" in data) ^ ("failure" in data):
        raise MalformedAnswer("answered with something else than a value or a failure")
    if "failure" in data:
        return Answer(failure=_words(data, "failure"), reason=_words(data, "reason"))
    try:
        return Answer(value=from_json(kind, data["value"]))
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
        why = _one_line(str(error))
        raise MalformedAnswer(f"answered with a value of another type ({why})") from error


def read_words(path: Path) -> str:
    """Read what a child noted in a few words; nothing where it is no file."""
    return " ".join(read_lines(path))[:_MOST_WORDS]


def read_lines(path: Path) -> list[str]:
    """Read what a child noted in some lines; nothing where it is no file."""
    try:
        content = _read_file(path) or b""
    except MalformedAnswer:
        return []
    lines = content[: _MOST_LINES * _MOST_WORDS].decode("utf-8", "replace").splitlines()
    return [_one_line(line) for line in lines[:_MOST_LINES]]


@contextmanager
def open_left(path: Path, most_bytes: int, what: str = "its answer") -> Iterator[BufferedReader]:
    """Open a regular file that a child left, to read; nothing is waited for or followed.

    Args:
        path: The file.
        most_bytes: Its greatest length, whether or not its bytes are on the disk.
        what: The file in words.

    Raises:
        FileNotFoundError: There is nothing.
        MalformedAnswer: There is something else than a file, or it is longer.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MalformedAnswer(f"left something else than a file as {what}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise MalformedAnswer(f"left something else than a file as {what}")
        if found.st_size > most_bytes:
            raise MalformedAnswer(
                f"left {found.st_size:,} bytes as {what}, more than the {most_bytes:,} allowed"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def take_file(path: Path, to: Path, most_bytes: int, what: str) -> None:
    """Copy a file that a child left, part by part.

    Args:
        path: The file.
        to: Its copy, which is there whole or not at all.
        most_bytes: Its greatest length.
        what: The file in words.

    Raises:
        FileNotFoundError: There is nothing.
        MalformedAnswer: There is something else than a file, or it is longer.
        WorldError: The copy cannot be written.
    """
    with open_left(path, most_bytes, what) as file:
        write_atomically(to, _parts(file, most_bytes), durable=False)


def _parts(file: BufferedReader, most_bytes: int) -> Iterator[bytes]:
    """Yield what a file holds up to a length, should it still grow."""
    while part := file.read(min(_PART, most_bytes)):
        most_bytes -= len(part)
        yield part


def _read_file(path: Path) -> bytes | None:
    try:
        with open_left(path, MOST_BYTES) as file:
            return file.read(MOST_BYTES)
    except FileNotFoundError:
        return None


def _parsed(content: bytes, *, allows_nan: bool) -> Any:
    if not content:
        raise MalformedAnswer("left an empty answer")
    try:
        text = content.decode("utf-8")
        constant = float if allows_nan else _constant
        data = json.loads(text, parse_int=_whole_number, parse_constant=constant)
        if _SURROGATE.search(content):  # text that nobody could print
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer("left an answer that is not JSON, or only a part of it") from error
    return data


def _whole_number(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _constant(text: str) -> float:
    return float(text) if text != "NaN" else _refuse_nan()


def _refuse_nan() -> NoReturn:
    raise ValueError("NaN")


def _words(data: dict[str, Any], key: str) -> str:
    words = data.get(key)
    if not isinstance(words, str):
        raise MalformedAnswer(f"answered with a failure without {key}")
    return _one_line(words)


def _one_line(words: str) -> str:
    """A text on one line, without characters that steer a terminal or passwords of URLs."""
    printable = "".join(letter if letter.isprintable() else " " for letter in words)
    return hide_passwords(" ".join(printable.split()))[:_MOST_WORDS]
