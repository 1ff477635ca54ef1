"""Source files as text and back as bytes: the encoding, the mark and the line ends stay.

`decoded` and `encoded` are the one way in and out, so that a file without a change has its own
bytes again. Lines are Python's: they end at a line feed, a carriage return or both in this order,
and at nothing else.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

from antifragile.errors import SpecError

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_NEWER = (  # what a line of a later Python looks like; the first that fits is named
    (re.compile(r"\s*(?:async\s+def|def|class)\s+\w+\s*\[[^\]]*="), (3, 13), "type defaults"),
    (re.compile(r"\s*(?:async\s+def|def|class)\s+\w+\s*\["), (3, 12), "type parameters"),
    (re.compile(r"\s*type\s+\w+\s*(?:\[.*\])?\s*="), (3, 12), "a type statement"),
    (re.compile(r"\s*except\s+[\w.]+\s*,.*:"), (3, 14), "exceptions without parentheses"),
    (re.compile(r".*\b[tT][rR]?[\"']"), (3, 14), "t-strings"),
    (
        re.compile(r".*\b[fF][rR]?([\"'])(?:(?!\1).)*\{(?:(?!\1)[^}])*\1.*\1.*\}.*\1"),
        (3, 12),
        "quotes within an f-string's own",
    ),
)


def decoded(content: bytes) -> str:
    """Return the text of a file, line ends as they are, without its byte-order mark.

    Raises:
        SyntaxError: It names an encoding that Python does not know.
        ValueError: Its bytes are not text in its encoding.
    """
    text = content.decode(encoding_of(content))
    if encoded(text, content) != content:
        raise ValueError(f"its text cannot be written back in {encoding_of(content)} as it was")
    return text


def encoded(text: str, like: bytes) -> bytes:
    """Return the bytes of a text in the encoding of a file, with its byte-order mark.

    Args:
        text: The text.
        like: The file's own bytes.

    Raises:
        UnicodeEncodeError: The encoding lacks a character.
    """
    return text.encode(encoding_of(like))


def encoding_of(content: bytes) -> str:
    """Return the encoding that a file names in its mark or its first two lines, else UTF-8."""
    return tokenize.detect_encoding(io.BytesIO(content).readline)[0]


def lines_of(text: str) -> list[str]:
    """Split a text into Python's lines, their ends included."""
    return _LINE.findall(text)


def line_end(line: str) -> str:
    """Return the end of a line, empty where it has none."""
    return line[len(line.rstrip("\r\n")) :]


def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a text; what Python warns of is the author's affair.

    Raises:
        SyntaxError: It is not Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def comments_of(text: str) -> Iterator[tuple[str, int]]:
    """Yield the comments of a text, each with its line."""
    lines = (line.rstrip("\r\n") + "\n" for line in lines_of(text))
    for token in tokenize.generate_tokens(lambda: next(lines, "")):
        if token.type == tokenize.COMMENT:
            yield token.string, token.start[0]


def diff_of(old: bytes, new: bytes, old_name: str, new_name: str) -> list[str]:
    """Return the unified diff of two versions of a file, its lines as other programs split them."""
    encoding = encoding_of(old).removesuffix("-sig")  # so that the mark stays
    before, after = (
        io.StringIO(content.decode(encoding), newline="\n").readlines() for content in (old, new)
    )
    ends = "\n\\ No newline at end of file\n"
    lines = unified_diff(before, after, old_name, new_name)
    return [line if line.endswith("\n") else line + ends for line in lines]


def parse_file(path: Path) -> ast.Module:
    """Return the syntax tree of a file, or say where and why it does not parse.

    Raises:
        SpecError: It cannot be read or is not Python, or it is for another version of Python.
    """
    try:
        content = path.read_bytes()
        text = decoded(content)
    except (SyntaxError, ValueError) as error:
        raise SpecError(
            f"{path}: {error}. The file must be text in UTF-8, or in the encoding that its first "
            "line names."
        ) from error
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}.") from error
    try:
        return parsed(text)
    except SyntaxError as error:
        lines = ["", *lines_of(text)]
        line = lines[min(error.lineno or 0, len(lines) - 1)]
        raise SpecError(f"{path}:{error.lineno}: {error.msg}. {needed_python(line)}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        reason = error if isinstance(error, ValueError) else "its code is nested too deeply"
        raise SpecError(f"{path}: {reason}. The file must be Python.") from error


def needed_python(line: str) -> str:
    """Say which Python runs this, and which one a line that it cannot parse needs."""
    running = f"Python {sys.version_info.major}.{sys.version_info.minor} runs this"
    for pattern, version, what in _NEWER:
        if sys.version_info < version and pattern.match(line):
            needed = f"{version[0]}.{version[1]}"
            return (
                f"{running}, and the line needs {needed} or later ({what}); run antifragile with "
                "that."
            )
    return f"The file must be Python; {running}, so for a file of a later one use that."
