"""The user's own arrays: ``npz:PATH``, written by ``numpy.savez``.

Either ``images`` and ``labels``, split 80/10/10 with the paper's seed, or the six arrays
``train_images, train_labels, validation_images, ... test_labels``. Nothing is unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from antifragile.config.specs.training import Normalization
from antifragile.data.splits import SPLIT_NAMES, Arrays, Dataset, assemble, seeded_split
from antifragile.errors import DataError, WorldError

PREFIX = "npz:"

_WHOLE = ("images", "labels")
_EXPLICIT = tuple(f"{which}_{what}" for which in SPLIT_NAMES for what in _WHOLE)
_HELD_OUT = 10  # one sample in ten is for validation, one for test
_GREY_LEVELS = 255
_FARTHEST = 1e6  # held-out values, in units of the training values' range


def with_absolute_path(name: str) -> str:
    """Return a data set's name so that it holds from every folder; other names stay as they are."""
    if not name.startswith(PREFIX):
        return name
    return PREFIX + os.path.abspath(os.path.expanduser(name.removeprefix(PREFIX)))


def load_npz(name: str, *, normalization: Normalization) -> Dataset:
    """Load, check, split and normalise arrays.

    ``unit`` divides uint8 images by 255 and maps the smallest and largest value of all other
    training images to 0 and 1; ``standardize`` then takes the scalar mean and sd of the training
    images.

    Args:
        name: ``npz:PATH``; the file has ``images`` (N, ...) numbers and ``labels`` (N,) integers
            0..C-1, or such a pair per split.
        normalization: Scale of the inputs, computed from unit pixels.

    Raises:
        DataError: The file is missing or not what is described above.
        WorldError: The file cannot be read.
    """
    path = Path(os.path.expanduser(name.removeprefix(PREFIX)))
    raw = _split(path, _read(path))
    n_classes = _count_classes(path, raw)
    return assemble(
        name=name,
        description=f"arrays of {path.name}",
        arrays=_to_unit(path, raw),
        n_classes=n_classes,
        normalization=normalization,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of one of the two forms."""
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise DataError(f"{path} {what}; expected a file of numpy.savez, given as npz:PATH.")
    try:
        with path.open("rb") as file:
            return _read_archive(path, np.load(file, allow_pickle=False))
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror or error}.") from error
    except DataError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen kinds over malformed bytes
        raise DataError(
            f"{path} is not an npz file or is damaged ({_brief(error)}); "
            "write it with numpy.savez(path, images=..., labels=...)."
        ) from error


def _read_archive(path: Path, archive: object) -> dict[str, np.ndarray]:
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(
            f"{path} holds a single array, expected several under names; "
            "write it with numpy.savez(path, images=..., labels=...)."
        )
    with archive:
        return {key: _read_array(path, archive, key) for key in _choose_keys(path, archive.files)}


def _choose_keys(path: Path, present: list[str]) -> tuple[str, ...]:
    explicit = [key for key in _EXPLICIT if key in present]
    whole = [key for key in _WHOLE if key in present]
    if explicit and whole:
        raise DataError(
            f"{path} has both {', '.join(whole)} and {', '.join(explicit)}; "
            "give either one pair to be split, or a pair per split."
        )
    keys = _EXPLICIT if explicit else _WHOLE
    missing = [key for key in keys if key not in present]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(present) or 'no arrays'}. "
            "Expected images and labels, or train_, validation_ and test_ pairs of them."
        )
    return keys


def _read_array(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        array = archive[key]
    except Exception as error:  # as in _read, and ValueError for arrays of Python objects
        raise DataError(
            f"{path}: {key} cannot be read ({_brief(error)}); "
            "save it as a plain array of numbers, not of objects."
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {key} is not an array; write the file with numpy.savez.")
    return _checked_labels(path, key, array) if "labels" in key else _checked(path, key, array)


def _checked_labels(path: Path, key: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {key} must be a (N,) array of integers; got shape {labels.shape} of "
            f"{labels.dtype}. Use one class number per image."
        )
    if labels.size and labels.min() < 0:
        raise DataError(f"{path}: {key} must be 0..C-1; got {labels.min()}. Renumber the classes.")
    return labels


def _checked(path: Path, key: str, images: np.ndarray) -> np.ndarray:
    """Return images as (N, d) uint8, or (N, d) float64 of finite values."""
    if images.dtype.kind not in "buif":
        raise DataError(f"{path}: {key} must be numbers; got {images.dtype}. Convert them.")
    if images.ndim < 2 or (len(images) and images.size == 0):
        raise DataError(
            f"{path}: {key} must have shape (N, ...), at least one value per image; got "
            f"{images.shape}. Add an axis with images[:, None] if each image is one number."
        )
    flat = images.reshape(len(images), int(np.prod(images.shape[1:])))
    if images.dtype == np.uint8:
        return flat
    with np.errstate(over="ignore"):
        flat = flat.astype(np.float64)
    n_bad = int(np.count_nonzero(~(np.abs(flat) < 1e300)))
    if n_bad:
        raise DataError(
            f"{path}: {key} has {n_bad} values that are not finite (NaN, infinite or beyond "
            "1e300); replace or remove them."
        )
    return flat


def _split(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Arrays]:
    """Return one pair per split, of equal lengths and equal kinds, none of them empty."""
    if "images" in arrays:
        pairs = _split_whole(path, arrays["images"], arrays["labels"])
    else:
        pairs = {w: (arrays[f"{w}_images"], arrays[f"{w}_labels"]) for w in SPLIT_NAMES}
    expected = pairs["train"][0]
    for which, (images, labels) in pairs.items():
        _check_lengths(path, f"{which}_", images, labels)
        if len(labels) == 0:
            raise DataError(f"{path}: the {which} split has no samples; give it at least one.")
        if images.shape[1] != expected.shape[1]:
            raise DataError(
                f"{path}: {which}_images has {images.shape[1]} values per image, train_images "
                f"{expected.shape[1]}; all splits must agree."
            )
        if (images.dtype == np.uint8) != (expected.dtype == np.uint8):
            raise DataError(
                f"{path}: {which}_images and train_images must both be uint8 or both not; "
                "save all splits with one dtype."
            )
    return pairs


def _split_whole(path: Path, images: np.ndarray, labels: np.ndarray) -> dict[str, Arrays]:
    _check_lengths(path, "", images, labels)
    held_out = len(labels) // _HELD_OUT
    if held_out == 0:
        raise DataError(
            f"{path} has {len(labels)} samples, expected at least {_HELD_OUT} so that no split is "
            "empty; add samples, or give a pair of arrays per split."
        )
    parts = seeded_split(len(labels), (len(labels) - 2 * held_out, held_out, held_out))
    return {w: (images[part], labels[part]) for w, part in zip(SPLIT_NAMES, parts, strict=True)}


def _check_lengths(path: Path, prefix: str, images: np.ndarray, labels: np.ndarray) -> None:
    if len(images) != len(labels):
        raise DataError(
            f"{path}: {prefix}images has {len(images)} images and {prefix}labels {len(labels)} "
            "labels; expected one label per image."
        )


def _count_classes(path: Path, pairs: Mapping[str, Arrays]) -> int:
    n_samples = sum(len(labels) for _, labels in pairs.values())
    n_classes = max(int(labels.max()) for _, labels in pairs.values()) + 1
    if n_classes < 2:
        raise DataError(f"{path} has one class only, expected at least labels 0 and 1.")
    if n_classes > n_samples:
        raise DataError(
            f"{path} has label {n_classes - 1} among {n_samples} samples; "
            "expected classes numbered 0..C-1. Renumber them."
        )
    return n_classes


def _to_unit(path: Path, pairs: Mapping[str, Arrays]) -> dict[str, Arrays]:
    """Return images as float32; [0, 1] for uint8 and for the training images of other kinds."""
    train = pairs["train"][0]
    low, span = 0.0, float(_GREY_LEVELS)
    if train.dtype != np.uint8:
        low = float(train.min())
        span = float(train.max()) - low or 1.0  # constant images become 0
    unit = {}
    for which, (images, labels) in pairs.items():
        if images.dtype != np.uint8 and np.abs(images - low).max() > _FARTHEST * span:
            raise DataError(
                f"{path}: the {which} images have values more than {_FARTHEST:,.0f} times outside "
                "the range of the training images; check their units."
            )
        unit[which] = (np.divide(images - low, span, dtype=np.float64).astype(np.float32), labels)
    return unit


def _brief(error: Exception) -> str:
    text = str(error).strip().split("\n")[0].rstrip(".")
    return (text if len(text) <= 120 else text[:117] + "...") or type(error).__name__
