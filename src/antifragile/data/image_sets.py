"""MNIST and Fashion-MNIST: four IDX files each, 50,000 / 10,000 / 10,000 images of 28x28 pixels.

The training file is cut as the paper's released code cuts it (`splits.seeded_split`); the test
file is the test split.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from antifragile.config.specs.training import Normalization
from antifragile.data.download import download_file, progress_bars
from antifragile.data.files import Access, PublishedFile, candidates
from antifragile.data.source import DatasetSource
from antifragile.data.splits import Arrays, Dataset, assemble, seeded_split
from antifragile.errors import DataError

_GREY_LEVELS = 255
_N_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A data set published as four IDX files.

    Args:
        name: Its registered name, and the name of its folder.
        summary: One line about it.
        files: Training images (N, rows, columns) and labels (N,), then those of the test split.
        n_validation: Number of the N training samples that are held out.
        mean_sd: The usual constants for ``standardize``, of unit pixels.
        mirrors: Base addresses.
        is_default_owner: Whether files of these names that lie outside of a data set's folder
            are taken for this one; another data set then accepts them only if they verify.
    """

    name: str
    summary: str
    files: tuple[PublishedFile, ...]
    n_validation: int
    mean_sd: tuple[float, float]
    mirrors: tuple[str, ...]
    is_default_owner: bool


def load_image_set(image_set: ImageSet, access: Access, normalization: Normalization) -> Dataset:
    """Find, or else download, the four files; verify, split and normalise them.

    Raises:
        DataError: A file is corrupted, or missing and not to be had.
        WorldError: A file cannot be read or written.
    """
    images, labels, test_images, test_labels = _read_files(image_set, access)
    n_train = len(labels) - image_set.n_validation
    train, validation = seeded_split(len(labels), (n_train, image_set.n_validation))
    return assemble(
        name=image_set.name,
        description=image_set.summary,
        arrays={
            "train": _unit(images[train], labels[train]),
            "validation": _unit(images[validation], labels[validation]),
            "test": _unit(test_images, test_labels),
        },
        n_classes=_N_CLASSES,
        normalization=normalization,
        mean_sd=image_set.mean_sd,
    )


def is_present(image_set: ImageSet, access: Access) -> bool:
    """Whether loading needs no download."""
    return all(_find(image_set, file, access) is not None for file in image_set.files)


def _unit(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """Turn (N, rows, columns) uint8 into (N, d) float32 in [0, 1]."""
    flat = images.reshape(len(images), -1)
    return np.divide(flat, _GREY_LEVELS, dtype=np.float32), labels


def _read_files(image_set: ImageSet, access: Access) -> list[np.ndarray]:
    """Return the arrays of the four files, downloading those that are in none of the folders."""
    found = {file: _find(image_set, file, access) for file in image_set.files}
    missing = [file for file, array in found.items() if array is None]
    if missing and not access.download:
        raise DataError(_by_hand(image_set, missing, access, "downloading is switched off"))
    folder = access.download_folder(image_set.name)
    mirrors = image_set.mirrors if access.mirrors is None else access.mirrors
    with progress_bars(access.progress and bool(missing)) as progress:
        for file in missing:
            try:
                found[file] = download_file(file, folder, mirrors=mirrors, progress=progress)
            except DataError as error:
                still = [other for other in missing if found[other] is None]
                raise DataError(_by_hand(image_set, still, access, str(error))) from error
    return [array for array in found.values() if array is not None]


def _find(image_set: ImageSet, file: PublishedFile, access: Access) -> np.ndarray | None:
    """Return the verified array of the first copy in the folders, or None."""
    for place in access.places():
        for path in candidates(file, place / image_set.name):
            return file.read_path(path)
        for path in candidates(file, place):
            try:
                return file.read_path(path)
            except DataError:
                if image_set.is_default_owner and not _is_of_another_set(image_set, file, path):
                    raise
    return None


def _is_of_another_set(image_set: ImageSet, file: PublishedFile, path: Path) -> bool:
    """Whether a file of a shared name is the intact file of another data set."""
    others = [twin for other in IMAGE_SETS if other is not image_set for twin in other.files]
    for twin in others:
        with suppress(DataError):
            if twin.name == file.name:
                twin.read_path(path)
                return True
    return False


def _by_hand(image_set: ImageSet, missing: list[PublishedFile], access: Access, why: str) -> str:
    names = ", ".join(file.archive_name for file in missing)
    return (
        f"data set {image_set.name!r} lacks {len(missing)} of its {len(image_set.files)} files: "
        f"{why.rstrip('.')}. Put {names} into {access.download_folder(image_set.name)}; "
        f"looked in {', '.join(map(str, access.places()))}."
    )


_NAMES_AND_SHAPES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("train-images-idx3-ubyte", (60000, 28, 28)),
    ("train-labels-idx1-ubyte", (60000,)),
    ("t10k-images-idx3-ubyte", (10000, 28, 28)),
    ("t10k-labels-idx1-ubyte", (10000,)),
)


def _published(*sums: str) -> tuple[PublishedFile, ...]:
    """The four files with the SHA-256 sums of their content."""
    return tuple(
        PublishedFile(name=name, shape=shape, content_sha256=sha256)
        for (name, shape), sha256 in zip(_NAMES_AND_SHAPES, sums, strict=True)
    )


MNIST = ImageSet(
    name="mnist",
    summary="70,000 handwritten digits of 28x28 pixels (LeCun, Cortes and Burges)",
    files=_published(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    n_validation=10000,
    mean_sd=(0.1307, 0.3081),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    is_default_owner=True,
)

# Sums of the content of the archives whose MD5 sums the publisher gives.
FASHION_MNIST = ImageSet(
    name="fashion-mnist",
    summary="70,000 articles of clothing of 28x28 pixels (Zalando; arXiv:1708.07747)",
    files=_published(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    n_validation=10000,
    mean_sd=(0.2860, 0.3530),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    is_default_owner=False,
)

IMAGE_SETS = (MNIST, FASHION_MNIST)

SOURCES = tuple(
    DatasetSource(
        name=image_set.name,
        summary=image_set.summary,
        n_inputs=math.prod(image_set.files[0].shape[1:]),
        n_classes=_N_CLASSES,
        load=partial(load_image_set, image_set),
        is_present=partial(is_present, image_set),
    )
    for image_set in IMAGE_SETS
)
"""The image sets as the registry holds them; a set of four IDX files is added in this file."""
