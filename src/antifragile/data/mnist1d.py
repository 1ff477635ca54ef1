"""MNIST-1D by arithmetic: ten short signals, moved, tilted and hidden in noise (arXiv:2011.14439).

``12 heights -> zeros appended -> resampled to 72 values -> scaled -> rotated -> smooth noise in
place of zeros -> fine noise -> tilted -> resampled to 40``. All draws come from one generator of
its own, in the order of the authors' package ``mnist1d``, whose samples are therefore reproduced.
"""

from __future__ import annotations

import numpy as np

N_CLASSES = 10
N_VALUES = 40

_SEED = 42
_PER_CLASS = 500
_FEWEST_ZEROS, _MOST_ZEROS = 36, 60
_SCALE = 0.4  # heights are multiplied by 0.8 to 1.2
_N_ROTATIONS = 48  # by 0 to 47 places; what leaves at the end comes in at the start
_SMOOTH_NOISE, _SMOOTH_WIDTH = 0.25, 2.0
_FINE_NOISE = 0.02
_TILT = 0.75
_NOT_ZERO = 1e-8  # added to heights, so that only appended zeros are taken for empty places

_HEIGHTS = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
"""The outline of each digit, 0 to 9, read from top to bottom."""

_LENGTH = len(_HEIGHTS[0]) + _MOST_ZEROS  # of a signal while it is distorted


def make_mnist1d() -> tuple[np.ndarray, np.ndarray]:
    """Make the 5,000 samples of the package in its order; the last 1,000 are its test set.

    No global random state is read or changed. With the same numpy and scipy the values are the
    package's to the last bit; with others, both differ in the last bits, by up to 9e-16 so far.

    Returns:
        (5000, 40) float64 values of mean 0 and sd 1, and (5000,) int64 labels, 500 of each class.

    Source:
        Greydanus and Kobak, Scaling down deep learning with MNIST-1D, arXiv:2011.14439.
    """
    random = np.random.RandomState(_SEED)
    templates = _templates()
    signals = [_distort(template, random) for template in templates for _ in range(_PER_CLASS)]
    labels = np.repeat(np.arange(N_CLASSES, dtype=np.int64), _PER_CLASS)
    order = random.permutation(len(labels))
    values = np.stack(signals)[order]
    return (values - values.mean()) / values.std(), labels[order]


def _templates() -> np.ndarray:
    """Return (10, 12) heights that start at 0, each row of sd 1/6."""
    heights = np.array(_HEIGHTS, dtype=np.float64)
    heights -= heights.mean(axis=1, keepdims=True)
    heights /= heights.std(axis=1, keepdims=True)
    return (heights - heights[:, :1]) / 6


def _distort(template: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Return (40,) values of one sample; the order of the draws is the data set's."""
    from scipy.ndimage import gaussian_filter1d  # 0.3 s of import, for those who load this

    n_zeros = _FEWEST_ZEROS + int(random.rand() * (_MOST_ZEROS - _FEWEST_ZEROS + 1))
    signal = _resample(np.append(template + _NOT_ZERO, np.zeros(n_zeros)), _LENGTH)
    signal *= 1 + _SCALE * (random.rand() - 0.5)
    signal = np.roll(signal, random.choice(_N_ROTATIONS))
    smooth = gaussian_filter1d(_SMOOTH_NOISE * random.randn(_LENGTH), _SMOOTH_WIDTH)
    signal = np.where(signal == 0, smooth, signal)
    signal += _FINE_NOISE * random.randn(_LENGTH)
    signal -= _TILT * (random.rand() - 0.5) * np.linspace(-0.5, 0.5, _LENGTH)
    return _resample(signal, N_VALUES)


def _resample(signal: np.ndarray, n_values: int) -> np.ndarray:
    """Read a signal at n evenly spaced places, its ends included, by straight lines."""
    places, known = np.linspace(0, 1, n_values), np.linspace(0, 1, len(signal))
    return np.asarray(np.interp(places, known, signal))
