"""Named arrays in one file that many processes read at once, without parsing or copying.

An index (JSON) stands first; the arrays follow, 64 bytes aligned, and are mapped into memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_ALIGNMENT = 64
_HEADER = 16  # characters of the index's length, in decimal


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays of plain number types under their names."""
    plain = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    index, offset = {}, 0
    for name, array in plain.items():
        index[name] = [array.dtype.str, array.shape, offset]
        offset += _aligned(array.nbytes)
    text = json.dumps(index).encode()
    with path.open("wb") as file:
        file.write(f"{len(text):<{_HEADER}}".encode() + text)
        file.write(bytes(_start(len(text)) - file.tell()))
        for array in plain.values():
            file.write(array.tobytes())
            file.write(bytes(_aligned(array.nbytes) - array.nbytes))


def load_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Map a file's arrays into memory; changes to them stay in this process."""
    with path.open("rb") as file:
        length = int(file.read(_HEADER))
        index = json.loads(file.read(length))
    content = np.memmap(path, dtype=np.uint8, mode="c")
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name, (kind, shape, offset) in index.items():
        dtype, begin = np.dtype(kind), _start(length) + offset
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        found[name] = np.asarray(content[begin : begin + size]).view(dtype).reshape(shape)
    return found


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _start(length: int) -> int:
    return _aligned(_HEADER + length)
