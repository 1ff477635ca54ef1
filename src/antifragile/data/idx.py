"""Reading IDX bytes, the container format of MNIST and its relatives, into arrays.

An IDX file is two zero bytes, one type byte, one byte with the number of dimensions, the sizes as
big-endian 32-bit numbers, and then the values. Only unsigned bytes in one dimension (labels) or
three (images) are read here. Any input gives an array or a `DataError`, and memory grows only with
the bytes that are really there, never with the sizes a header claims.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

from antifragile.errors import DataError

MAX_CONTENT_BYTES = 2**30

_UNSIGNED_BYTE = 0x08
_DIMENSIONS = (1, 3)
_GZIP_MAGIC = b"\x1f\x8b"
_FRESH = "use a fresh copy of the file"


def parse_idx(content: bytes, *, source: str = "IDX data") -> np.ndarray:
    """Read IDX bytes.

    Args:
        content: The whole uncompressed file.
        source: Name of the file in messages, usually its path.

    Returns:
        (N,) or (N, rows, columns) uint8, a writable copy.

    Raises:
        DataError: The bytes are not a complete IDX file of unsigned bytes in 1 or 3 dimensions.

    Source: "The MNIST database of handwritten digits", section FILE FORMATS.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
        array([7, 9], dtype=uint8)
    """
    n_dimensions = _read_magic(content, source)
    start = 4 + 4 * n_dimensions
    if len(content) < start:
        raise DataError(
            f"{source} is truncated: its header has {len(content)} bytes, expected {start}; "
            f"{_FRESH}."
        )
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    size = f"{' x '.join(map(str, shape))} = {math.prod(shape)} bytes"
    if math.prod(shape) == 0:
        raise DataError(
            f"{source} is empty: its header says {size}, expected at least 1; {_FRESH}."
        )
    present = len(content) - start
    if present != math.prod(shape):
        fault = "is truncated" if present < math.prod(shape) else "has trailing bytes"
        raise DataError(
            f"{source} {fault}: {present} bytes follow the header, expected {size}; {_FRESH}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def gunzip(
    content: bytes, *, source: str = "gzip data", max_bytes: int = MAX_CONTENT_BYTES
) -> bytes:
    """Decompress gzip bytes, of one member or several, up to a limit.

    Args:
        content: The whole compressed file.
        source: Name of the file in messages, usually its path.
        max_bytes: The most the content may unpack to.

    Raises:
        DataError: Not gzip, truncated, corrupted, or larger than the limit.
    """
    parts: list[bytes] = []
    rest = content
    while rest or not parts:
        if not rest.startswith(_GZIP_MAGIC):
            fault = "is not a gzip file" if not parts else "has trailing bytes after its gzip data"
            raise DataError(
                f"{source} {fault}: got {_shown(rest)}, expected 1f8b; use a fresh .gz file."
            )
        room = max_bytes - sum(map(len, parts))
        part, rest = _inflate_member(rest, room, source)
        parts.append(part)
        rest = rest.lstrip(b"\0")  # tape padding, which gzip itself ignores
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_magic(content: bytes, source: str) -> int:
    if not content:
        raise DataError(f"{source} is empty: got 0 bytes, expected an IDX header; {_FRESH}.")
    if content.startswith(_GZIP_MAGIC):
        raise DataError(f"{source} is still compressed: got gzip, expected IDX; unpack it first.")
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(
            f"{source} is not an IDX file: it begins with {_shown(content)}, "
            f"expected 000008; {_FRESH}."
        )
    if content[2] != _UNSIGNED_BYTE:
        raise DataError(
            f"{source} has IDX type 0x{content[2]:02x}, expected 0x08 (unsigned bytes); "
            "convert it, or give your own arrays as npz:PATH."
        )
    if content[3] not in _DIMENSIONS:
        raise DataError(
            f"{source} has {content[3]} IDX dimensions, expected 1 (labels) or 3 (images); "
            "convert it, or give your own arrays as npz:PATH."
        )
    return content[3]


def _inflate_member(content: bytes, room: int, source: str) -> tuple[bytes, bytes]:
    """Unpack one gzip member; return it and the bytes that follow it."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        part = inflater.decompress(content, room + 1)
    except zlib.error as error:
        raise DataError(f"{source} is corrupted gzip ({error}); {_FRESH}.") from error
    if len(part) > room:
        raise DataError(f"{source} unpacks to more than the expected size; {_FRESH}.")
    if not inflater.eof:
        raise DataError(
            f"{source} is truncated gzip: it ends after {len(part)} unpacked bytes; {_FRESH}."
        )
    return part, inflater.unused_data


def _shown(content: bytes) -> str:
    return content[:4].hex() or "nothing"
