"""Mutations: a good input, changed in one to four places; the same for the same random numbers."""

from __future__ import annotations

import copy
import random
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WORDS = (
    *("", " ", "\x00", "\x1b[31m", "\x9b2J", "\r", "\n", "\t", "\u202e", "\ufeff", "٣", "=1+1"),
    *(
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "1e400",
        "-1e400",
        "1e308",
        "-1",
        "0",
        "-0.0",
        "1.5",
    ),
    *("9" * 400, "1" + "0" * 5000, "0x10", "1_000", "true", "null", "None", "abc", "x" * 5000),
    *("[red]", "[/]", "$\\foo$", "${HOME}", "../../etc/passwd", "a\\b", "'", '"', '"""', "<b>"),
    *(
        "[",
        "]",
        "{",
        "}",
        "[" * 2000,
        "(" * 300,
        "*",
        "1*4",
        "4*",
        "[1*4, 2*8]",
        ",",
        ";",
        "=",
        ":",
    ),
    *("é", "日本", "😀", "%00", "%ff", "@", "://", "/", "?", "#", "--help", "npz:x"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**400, -(10**400), 0.0, -0.0, 0.5),
    *(
        1e308,
        -1e308,
        5e-324,
        float("nan"),
        float("inf"),
        float("-inf"),
        "",
        "x",
        "x" * 5000,
        "\x1b[2J",
    ),
    *(
        "nan",
        "1",
        "../..",
        "/etc/passwd",
        "a\x00b",
        "\ud800",
        [],
        {},
        [[]],
        [None],
        [1, 2],
        {"a": 1},
    ),
    *([0] * 1000, {"": {"": {}}}, "=1+1", "[red]", "$x_$"),
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def mutate_text(text: str, rng: random.Random) -> str:
    """Change a text in one to four places."""
    for _ in range(rng.randint(1, 4)):
        text = rng.choice(_TEXT_STEPS)(text, rng)
    return text


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat or insert some bytes."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        step = rng.randrange(6)
        if step == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif step == 1 and at < len(changed):
            changed[at] = rng.choice((0, 1, 127, 128, 255))
        elif step == 2:
            del changed[at:]
        elif step == 3:
            del changed[at : at + rng.randint(1, 40)]
        elif step == 4:
            changed[at:at] = rng.randbytes(rng.randint(1, 20))
        else:
            changed[at : at + 4] = rng.choice((b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff"))
    return bytes(changed)


def mutate_data(value: Any, rng: random.Random) -> Any:
    """Change JSON-like data in one to three places."""
    changed = [copy.deepcopy(value)]
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(list(_places(changed)) or [(changed, 0)])
        step = rng.randrange(8)
        if step == 0 and holder is not changed:
            del holder[key]
        elif step == 1 and isinstance(holder, list) and holder is not changed:
            holder.insert(key, copy.deepcopy(holder[key]))
        elif step == 2:
            other, there = rng.choice(list(_places(changed)))
            holder[key] = copy.deepcopy(other[there])
        elif step == 3 and isinstance(holder[key], str):
            holder[key] = mutate_text(holder[key], rng)
        elif step == 4 and isinstance(holder[key], int | float):
            holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 10**9, 10**30))
        elif step == 5 and isinstance(holder[key], dict) and holder[key]:
            holder[key][rng.choice(WORDS)] = holder[key].pop(rng.choice(list(holder[key])))
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return changed[0]


def mutate_store(path: Path, rng: random.Random) -> None:
    """Change some cells of an SQLite file, or its bytes."""
    if rng.random() < 0.4:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
        return
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    tables = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    for _ in range(rng.randint(1, 3)):
        _change_cell(connection, rng.choice(tables), rng)
    connection.commit()
    connection.close()


def _change_cell(connection: sqlite3.Connection, table: str, rng: random.Random) -> None:
    columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
    rows = [row[0] for row in connection.execute(f'SELECT rowid FROM "{table}"')]
    if not rows or not columns:
        return
    row, column = rng.choice(rows), rng.choice(columns)
    query = f'SELECT "{column}" FROM "{table}" WHERE rowid=?'
    (old,) = connection.execute(query, (row,)).fetchone() or (None,)
    fitting = [v for v in VALUES if not isinstance(v, list | dict) and not _is_too_large(v)]
    new: Any = rng.choice([*fitting, b"\xff\xfe", b"", 2**63 - 1, -(2**63)])
    if isinstance(old, str) and rng.random() < 0.6:
        new = mutate_text(old, rng)
    try:
        if rng.random() < 0.15:
            connection.execute(f'DELETE FROM "{table}" WHERE rowid=?', (row,))
        else:
            connection.execute(f'UPDATE "{table}" SET "{column}"=? WHERE rowid=?', (new, row))
    except (sqlite3.Error, UnicodeEncodeError):  # a constraint of the table holds
        return


def _is_too_large(value: Any) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _places(value: Any) -> Any:
    """Every (holder, key) in nested lists and dictionaries."""
    pairs = enumerate(value) if isinstance(value, list) else value.items()
    for key, item in list(pairs):
        yield value, key
        if isinstance(item, list | dict):
            yield from _places(item)


def _insert_word(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(WORDS) + text[at:]


def _replace_part(text: str, rng: random.Random) -> str:
    """Put a word in the place of a cell, a value or an item between punctuation."""
    parts = re.split(r"([,\n=:;@/?&\[\]{}\" ])", text)
    parts[rng.randrange(len(parts))] = rng.choice(WORDS)
    return "".join(parts)


def _replace_number(text: str, rng: random.Random) -> str:
    found = list(_NUMBER.finditer(text))
    if not found:
        return _insert_word(text, rng)
    number = rng.choice(found)
    return text[: number.start()] + rng.choice(WORDS) + text[number.end() :]


def _drop(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at + rng.randint(1, 12) :]


def _repeat(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at : at + rng.randint(1, 30)] * rng.randint(2, 4) + text[at:]


def _cut_off(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _swap_lines(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


def _change_letter(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return (
        text[:at]
        + chr(rng.choice((rng.randrange(32, 127), rng.randrange(0xD7FF))))
        + text[at + 1 :]
    )


_TEXT_STEPS: Sequence[Callable[[str, random.Random], str]] = (
    *(_insert_word, _replace_part, _replace_part, _replace_number, _replace_number),
    *(_drop, _repeat, _cut_off, _swap_lines, _change_letter),
)
