"""Files of JSON and TOML, which may be anybody's: the one reader of each."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

_DEEPEST, _TOO_DEEP = 100, "it is nested too deeply"


def read_json(path: Path, *, with_nan: bool = False) -> Any:
    """JSON data of a file.

    Args:
        path: The file.
        with_nan: Accept NaN and infinities, as a diverged training leaves them among its metrics.

    Raises:
        ValueError: It is not JSON in UTF-8, is nested too deeply, or holds a number that it may
            not.
        OSError: It cannot be read.
    """
    number = float if with_nan else _finite
    return _parsed(path, partial(json.loads, parse_float=number, parse_constant=number))


def read_toml(path: Path) -> dict[str, Any]:
    """Read the data of a TOML file.

    Raises:
        ValueError: It is not TOML in UTF-8, or is nested too deeply.
        OSError: It cannot be read.
    """
    data: dict[str, Any] = _parsed(path, tomllib.loads)
    return data


def _parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    content = path.read_bytes()
    try:
        data = parse(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check_depth(data)
    return data


def _check_depth(data: object) -> None:
    """Refuse data so deep that no function that calls itself, not even `repr`, may take it.

    Raises:
        ValueError: It is.
    """
    level = [data]
    for _ in range(_DEEPEST):
        inner = [part for part in level if isinstance(part, dict | list)]
        level = [x for part in inner for x in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is no number that we write")
    return number
