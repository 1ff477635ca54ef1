"""Any bytes are an array or one clear sentence."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from antifragile.data.idx import gunzip, parse_idx
from antifragile.errors import DataError

Result = TypeVar("Result")

LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4])
PACKED = gzip.compress(LABELS, mtime=0)  # a time would make test names differ between workers


def test_labels_are_a_vector() -> None:
    array = parse_idx(LABELS)
    assert array.tolist() == [7, 9]
    assert array.dtype == np.uint8
    assert array.flags.writeable


def test_images_keep_rows_and_columns() -> None:
    assert parse_idx(IMAGES).tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "FILE is empty: got 0 bytes, expected an IDX header"),
        (b"\0\0\x08", "FILE is not an IDX file: it begins with 000008"),
        (b"<html>", "FILE is not an IDX file: it begins with 3c68746d, expected 000008"),
        (PACKED, "FILE is still compressed: got gzip"),
        (b"\0\0\x0d\x01" + LABELS[4:], "FILE has IDX type 0x0d, expected 0x08"),
        (b"\0\0\x08\x02" + LABELS[4:], "FILE has 2 IDX dimensions, expected 1 .* or 3"),
        (IMAGES[:9], "FILE is truncated: its header has 9 bytes, expected 16"),
        (IMAGES[:-1], "FILE is truncated: 3 bytes follow the header, expected 1 x 2 x 2 = 4 bytes"),
        (IMAGES + b"x", "FILE has trailing bytes: 5 bytes follow the header, expected 1 x 2 x 2"),
        (b"\0\0\x08\x01\0\0\0\0", "FILE is empty: its header says 0 = 0 bytes"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"x", "truncated: 1 bytes follow .* 4294967295 x"),
        (b"\0\0\x08\x03" + b"\0" * 4 + b"\xff" * 8, "FILE is empty: its header says 0 x 4294"),
    ],
)
def test_malformed_idx_is_named(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_idx(content, source="FILE")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "FILE is not a gzip file: got nothing"),
        (LABELS, "FILE is not a gzip file: got 00000801, expected 1f8b"),
        (PACKED[:-3], "FILE is truncated gzip: it ends after 10 unpacked bytes"),
        (PACKED + b"junk", "FILE has trailing bytes after its gzip data"),
        (PACKED[:-8] + b"\0" * 8, "FILE is corrupted gzip"),
        (gzip.compress(b"\0" * 10**6, mtime=0), "FILE unpacks to more than the expected size"),
    ],
)
def test_malformed_gzip_is_named(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        gunzip(content, source="FILE", max_bytes=1000)


def test_gzip_of_several_members_and_padding_is_one_content() -> None:
    assert gunzip(gzip.compress(b"one") + gzip.compress(b"two") + b"\0\0") == b"onetwo"


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=1, max_dims=1) | st.just((3, 2, 2))))
def test_what_was_written_is_read(array: np.ndarray) -> None:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
    assert np.array_equal(parse_idx(gunzip(gzip.compress(content))), array)


def attempt(read: Callable[[], Result]) -> Result | None:
    """The result, or None after a DataError of one line; any other exception fails the test."""
    try:
        return read()
    except DataError as error:
        message = str(error)
    assert "\n" not in message
    assert message.endswith(".")
    return None


@given(st.sampled_from([b"", b"\0\0\x08\x01", b"\0\0\x08\x03"]), st.binary(max_size=64))
def test_any_bytes_are_an_array_or_a_data_error(start: bytes, rest: bytes) -> None:
    array = attempt(lambda: parse_idx(start + rest))
    if array is not None:
        assert array.size == len(start + rest) - 4 - 4 * array.ndim


@given(st.binary(max_size=64), st.integers(0, 40), st.integers(0, 255))
def test_any_damage_to_gzip_is_bytes_or_a_data_error(rest: bytes, at: int, value: int) -> None:
    damaged = bytearray(gzip.compress(IMAGES, mtime=0))
    damaged[at % len(damaged)] = value
    for content in (bytes(damaged), b"\x1f\x8b\x08" + rest, rest):
        attempt(lambda content=content: gunzip(content, max_bytes=1000))


def test_absurd_headers_and_gzip_bombs_allocate_little() -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    header = b"\0\0\x08\x03" + b"\xff" * 12
    tracemalloc.start()
    assert attempt(lambda: gunzip(bomb, max_bytes=1000)) is None
    assert attempt(lambda: parse_idx(header)) is None
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1_000_000
