"""The data sets that need no file: ``digits`` from scikit-learn, and ``tiny`` from arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from antifragile.config.run import Normalization
from antifragile.data.files import Access
from antifragile.data.source import DatasetSource
from antifragile.data.splits import SPLIT_NAMES, Arrays, Dataset, assemble, seeded_split
from antifragile.errors import DataError

_DIGITS_SUMMARY = (
    "1,797 handwritten digits of 8x8 pixels, embedded in scikit-learn (UCI, test part)"
)
_TINY_SUMMARY = "64 made-up images of 4x4 pixels in 4 classes, for tests and examples"

_GREY_LEVELS = 16  # digits count 0..16 set pixels in a 4x4 cell; tiny stays below that
_DIGITS_SIZES = (1197, 300, 300)
_DIGITS_SHA256 = {
    "images": "20def7f70a702f0af9732fbba4375e147a7d54fe70d8c45569b8e7c1c7010c10",
    "labels": "a3c91c262eddcf7ba8f0e37507c30284493c9b20412ffe4af30d536401f7ba21",
}
_TINY_SIZES = (32, 16, 16)


def load_digits(access: Access, normalization: Normalization) -> Dataset:
    """Load the 8x8 digits, split 1197/300/300; ``access`` is not used.

    Raises:
        DataError: The installed scikit-learn carries other data than this program knows.
    """
    from sklearn.datasets import load_digits as load_embedded  # imports scipy: a second or more

    pixels, labels = load_embedded(return_X_y=True)
    _check_digits("images", pixels.astype("<f8"))
    _check_digits("labels", labels.astype("<i8"))
    return assemble(
        name="digits",
        description=_DIGITS_SUMMARY,
        arrays=_cut(pixels, labels, seeded_split(len(labels), _DIGITS_SIZES)),
        n_classes=10,
        normalization=normalization,
    )


def load_tiny(access: Access, normalization: Normalization) -> Dataset:
    """Make four classes, one bright row of a 4x4 image each, under noise; split 32/16/16.

    Class c has pixels of 10..15 sixteenths in row c and of 0..5 elsewhere, so the classes are
    linearly separable, and every split holds as many of each.
    """
    n_samples, n_classes = sum(_TINY_SIZES), 4
    labels = np.arange(n_samples) % n_classes
    noise = _noise(n_samples * 16).reshape(n_samples, 4, 4) % 6
    bright = np.arange(4)[None, :, None] == labels[:, None, None]  # (64, row, 1)
    images = (noise + 10 * bright).reshape(n_samples, 16)
    in_order = np.split(np.arange(n_samples), np.cumsum(_TINY_SIZES)[:-1])
    return assemble(
        name="tiny",
        description=_TINY_SUMMARY,
        arrays=_cut(images, labels, in_order),
        n_classes=n_classes,
        normalization=normalization,
    )


def _cut(images: np.ndarray, labels: np.ndarray, parts: Sequence[np.ndarray]) -> dict[str, Arrays]:
    unit = np.divide(images, _GREY_LEVELS, dtype=np.float32)
    return {
        which: (unit[part], labels[part]) for which, part in zip(SPLIT_NAMES, parts, strict=True)
    }


def _noise(n_values: int) -> np.ndarray:
    """Return (n,) int64 below 2**16: the high halves of a 32-bit linear congruential sequence."""
    state, values = 1337, []
    for _ in range(n_values):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 16)
    return np.array(values, dtype=np.int64)


def _check_digits(what: str, array: np.ndarray) -> None:
    got = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    if got != _DIGITS_SHA256[what]:
        raise DataError(
            f"the {what} of scikit-learn's digits have sha256 {got}, expected "
            f"{_DIGITS_SHA256[what]}; reinstall scikit-learn 1.4 or newer."
        )


SOURCES = (
    DatasetSource(
        name="digits", summary=_DIGITS_SUMMARY, n_inputs=64, n_classes=10, load=load_digits
    ),
    DatasetSource(name="tiny", summary=_TINY_SUMMARY, n_inputs=16, n_classes=4, load=load_tiny),
)
"""The embedded data sets as the registry holds them; one more is added in this file."""
