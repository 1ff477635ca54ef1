"""Named arrays in one safetensors file, bit for bit, whatever their number type.

Types that the format lacks (complex128, long double) are stored as bytes beside their name. A file
may come from a process that ran others' code, so a reader checks all that it relies on.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save_file

from antifragile.ablate.frameworks.arrays import Array, Leaves

_NAMES = ("bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
_KINDS = {np.dtype(name).str for name in _NAMES}  # stored as they are
_NUMBERS = "biufc"  # the kinds of NumPy types that arrays may have
_STORED = {"BOOL": "bool"} | {
    f"{letter.upper()}{8 * size}": f"{letter}{size}"
    for letter in "uif"
    for size in (1, 2, 4, 8)
    if letter != "f" or size > 1
}


class MalformedArrays(ValueError):
    """A file that cannot be read as arrays; the message is a clause: "is no file of arrays"."""


def save_arrays(path: Path, arrays: Leaves) -> None:
    """Write arrays of number types under their names."""
    dtypes = {name: array.dtype.str for name, array in arrays.items()}
    dense = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    stored = {
        name: array if dtypes[name] in _KINDS else array[..., None].view(np.uint8)
        for name, array in dense.items()
    }
    save_file(stored, path, metadata={"dtypes": json.dumps(dtypes)})


def load_arrays(path: Path, *, most_bytes: int | None = None) -> Leaves:
    """Read a file's arrays in the order they were given; changes to them stay in this process.

    Args:
        path: The file.
        most_bytes: Largest size that is read.

    Raises:
        MalformedArrays: It is not there, no plain file, too large, or holds something else.
    """
    content = _content(path, most_bytes)
    try:
        found = deserialize(content)  # type: ignore[no-untyped-call]  # untyped library
        stored = {name: _stored(**fields) for name, fields in found}
        dtypes = _dtypes(content)
        if dtypes.keys() != stored.keys():
            raise MalformedArrays("names other arrays than it holds")
        return {name: _typed(stored[name], dtype) for name, dtype in dtypes.items()}
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, MalformedArrays):
            raise
        raise MalformedArrays("is no file of arrays") from error


def _content(path: Path, most_bytes: int | None) -> bytes:
    """The bytes of a plain file of bounded size, read once."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MalformedArrays("is missing or no plain file") from error
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise MalformedArrays("is no plain file")
        if most_bytes is not None and found.st_size > most_bytes:
            raise MalformedArrays(f"has {found.st_size:,} bytes; at most {most_bytes:,} are read")
        return file.read(found.st_size)


def _stored(shape: list[int], dtype: str, data: bytes | bytearray) -> Array:
    own = data if isinstance(data, bytearray) else bytearray(data)  # so that it may be changed
    return np.frombuffer(own, np.dtype(_STORED[dtype])).reshape(shape)


def _dtypes(content: bytes) -> Mapping[str, str]:
    """The types by name, in the order of the arrays; `deserialize` has checked the header."""
    length = int.from_bytes(content[:8], "little")
    dtypes = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["dtypes"])
    if not isinstance(dtypes, dict):
        raise MalformedArrays("names no types")
    return dtypes


def _typed(stored: Array, name: str) -> Array:
    dtype = np.dtype(str(name))
    if dtype.kind not in _NUMBERS:
        raise MalformedArrays(f"holds an array of type {dtype}, no number type")
    return stored if stored.dtype == dtype else stored.view(dtype)[..., 0]
