"""The data sets that need no file: ``digits`` from scikit-learn, two from arithmetic.

They are ``mnist1d``, whose recipe is in `mnist1d`, and ``tiny``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from antifragile.config.specs.training import Normalization
from antifragile.data.files import Access
from antifragile.data.mnist1d import N_CLASSES, N_VALUES, make_mnist1d
from antifragile.data.source import DatasetSource
from antifragile.data.splits import SPLIT_NAMES, Arrays, Dataset, assemble, seeded_split
from antifragile.errors import DataError

_DIGITS_SUMMARY = (
    "1,797 handwritten digits of 8x8 pixels, embedded in scikit-learn (UCI, test part)"
)
_MNIST1D_SUMMARY = (
    "5,000 signals of 40 values in 10 classes, made by the recipe of MNIST-1D (arXiv:2011.14439)"
)
_TINY_SUMMARY = "64 made-up images of 4x4 pixels in 4 classes, for tests and examples"

_GREY_LEVELS = 16  # digits count 0..16 set pixels in a 4x4 cell; tiny stays below that
_DIGITS_SIZES = (1197, 300, 300)
_DIGITS_SHA256 = {
    "images": "20def7f70a702f0af9732fbba4375e147a7d54fe70d8c45569b8e7c1c7010c10",
    "labels": "a3c91c262eddcf7ba8f0e37507c30284493c9b20412ffe4af30d536401f7ba21",
}
_MNIST1D_SIZES = (3200, 800)  # of the samples that the publisher trains on; the rest is the test
_MNIST1D_STEPS = 2**14  # per unit of the published values, which lie between -5.5 and 4.6
_MNIST1D_SHA256 = {
    "values": "2afab159d71ff6cf2aa73cb148a128d807572173007ea4e0da9de92b9e6cffe1",
    "labels": "6feec4a017698c7fe237c8854cbd2e338c6dd5c16240f6fa79daefaaa129e169",
}
_TINY_SIZES = (32, 16, 16)


def load_digits(access: Access, normalization: Normalization) -> Dataset:
    """Load the 8x8 digits, split 1197/300/300; ``access`` is not used.

    Raises:
        DataError: The installed scikit-learn carries other data than this program knows.
    """
    from sklearn.datasets import load_digits as load_embedded  # imports scipy: a second or more

    pixels, labels = load_embedded(return_X_y=True)
    known = _DIGITS_SHA256
    advice = "reinstall scikit-learn 1.4 or newer"
    _check("images of scikit-learn's digits", pixels.astype("<f8"), known["images"], advice)
    _check("labels of scikit-learn's digits", labels.astype("<i8"), known["labels"], advice)
    return assemble(
        name="digits",
        description=_DIGITS_SUMMARY,
        arrays=_cut(pixels / _GREY_LEVELS, labels, seeded_split(len(labels), _DIGITS_SIZES)),
        n_classes=10,
        normalization=normalization,
    )


def load_mnist1d(access: Access, normalization: Normalization) -> Dataset:
    """Make MNIST-1D, split 3200/800/1000; ``access`` is not used.

    The last bits of computed values (about 1e-15) differ between processors and between versions
    of numpy and scipy. So values are rounded to steps of 1/16384, and the steps are both what is
    checked and what is loaded: no value lies within 1.9e-10 of a boundary between two steps, so
    they are the same everywhere and a study can move between machines. Rounding moves a value by
    3.1e-5 at most, where all values have sd 1.

    ``unit`` maps the smallest and largest training value to 0 and 1, as for arrays of the user;
    ``standardize`` takes the mean and sd of the training split, and so gives the published values
    but for a small shift and a factor near 1.

    Raises:
        DataError: Other values come out here than the publisher's.
    """
    values, labels = make_mnist1d()
    steps = np.rint(values * _MNIST1D_STEPS).astype("<i4")
    advice = "reinstall numpy and scipy"
    _check("values of mnist1d made here", steps, _MNIST1D_SHA256["values"], advice)
    _check("labels of mnist1d made here", labels.astype("<i8"), _MNIST1D_SHA256["labels"], advice)
    n_own = sum(_MNIST1D_SIZES)
    train, validation = seeded_split(n_own, _MNIST1D_SIZES)
    low, high = steps[train].min(), steps[train].max()
    parts = (train, validation, np.arange(n_own, len(labels)))
    return assemble(
        name="mnist1d",
        description=_MNIST1D_SUMMARY,
        arrays=_cut((steps - low) / (high - low), labels, parts),
        n_classes=N_CLASSES,
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
        arrays=_cut(images / _GREY_LEVELS, labels, in_order),
        n_classes=n_classes,
        normalization=normalization,
    )


def _cut(unit: np.ndarray, labels: np.ndarray, parts: Sequence[np.ndarray]) -> dict[str, Arrays]:
    values = unit.astype(np.float32)
    return {
        which: (values[part], labels[part]) for which, part in zip(SPLIT_NAMES, parts, strict=True)
    }


def _noise(n_values: int) -> np.ndarray:
    """Return (n,) int64 below 2**16: the high halves of a 32-bit linear congruential sequence."""
    state, values = 1337, []
    for _ in range(n_values):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 16)
    return np.array(values, dtype=np.int64)


def _check(what: str, array: np.ndarray, expected: str, advice: str) -> None:
    got = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    if got != expected:
        raise DataError(f"the {what} have sha256 {got}, expected {expected}; {advice}.")


SOURCES = (
    DatasetSource(
        name="digits", summary=_DIGITS_SUMMARY, n_inputs=64, n_classes=10, load=load_digits
    ),
    DatasetSource(
        name="mnist1d",
        summary=_MNIST1D_SUMMARY,
        n_inputs=N_VALUES,
        n_classes=N_CLASSES,
        load=load_mnist1d,
    ),
    DatasetSource(name="tiny", summary=_TINY_SUMMARY, n_inputs=16, n_classes=4, load=load_tiny),
)
"""The embedded data sets as the registry holds them; one more is added in this file."""
