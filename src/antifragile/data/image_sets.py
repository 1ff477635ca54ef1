"""MNIST and Fashion-MNIST: four IDX files each, 50,000 / 10,000 / 10,000 images of 28x28 pixels.

The training file is cut as the paper's released code cuts it (`splits.seeded_split`); the test
file is the test split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from antifragile.config.run import Normalization
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
        train_images: (N, rows, columns).
        train_labels: (N,).
        test_images: (M, rows, columns).
        test_labels: (M,).
        n_validation: Number of the N training samples that are held out.
        mean_sd: The usual constants for ``standardize``, of unit pixels.
        mirrors: Base addresses.
        is_default_owner: Whether files of these names that lie outside of a data set's folder
            are taken for this one; another data set then accepts them only if they verify.
    """

    name: str
    summary: str
    train_images: PublishedFile
    train_labels: PublishedFile
    test_images: PublishedFile
    test_labels: PublishedFile
    n_validation: int
    mean_sd: tuple[float, float]
    mirrors: tuple[str, ...]
    is_default_owner: bool

    @property
    def files(self) -> tuple[PublishedFile, ...]:
        """The four files."""
        return (self.train_images, self.train_labels, self.test_images, self.test_labels)


def load_image_set(image_set: ImageSet, access: Access, normalization: Normalization) -> Dataset:
    """Find, or else download, the four files; verify, split and normalise them.

    Raises:
        DataError: A file is corrupted, or missing and not to be had.
        WorldError: A file cannot be read or written.
    """
    raw = _read_files(image_set, access)
    images, labels = raw[image_set.train_images.name], raw[image_set.train_labels.name]
    n_train = len(labels) - image_set.n_validation
    train, validation = seeded_split(len(labels), (n_train, image_set.n_validation))
    return assemble(
        name=image_set.name,
        description=image_set.summary,
        arrays={
            "train": _unit(images[train], labels[train]),
            "validation": _unit(images[validation], labels[validation]),
            "test": _unit(raw[image_set.test_images.name], raw[image_set.test_labels.name]),
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


def _read_files(image_set: ImageSet, access: Access) -> Mapping[str, np.ndarray]:
    """Return the arrays by file name, downloading the files that are in none of the folders."""
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
    return {file.name: array for file, array in found.items() if array is not None}


def _find(image_set: ImageSet, file: PublishedFile, access: Access) -> np.ndarray | None:
    """Return the verified array of the first copy in the folders, or None."""
    for place in access.places():
        for path in candidates(file, (place / image_set.name,)):
            return file.read_path(path)
        for path in candidates(file, (place,)):
            try:
                return file.read_path(path)
            except DataError:
                if image_set.is_default_owner and not _is_of_another_set(image_set, file, path):
                    raise
    return None


def _is_of_another_set(image_set: ImageSet, file: PublishedFile, path: Path) -> bool:
    """Whether a file of a shared name is the intact file of another data set."""
    for other in IMAGE_SETS:
        for twin in other.files:
            if other is not image_set and twin.name == file.name:
                try:
                    twin.read_path(path)
                except DataError:
                    continue
                return True
    return False


def _by_hand(image_set: ImageSet, missing: list[PublishedFile], access: Access, why: str) -> str:
    names = ", ".join(file.archive_name for file in missing)
    return (
        f"data set {image_set.name!r} lacks {len(missing)} of its {len(image_set.files)} files: "
        f"{why.rstrip('.')}. Put {names} into {access.download_folder(image_set.name)}; "
        f"looked in {', '.join(map(str, access.places()))}."
    )


MNIST = ImageSet(
    name="mnist",
    summary="70,000 handwritten digits of 28x28 pixels (LeCun, Cortes and Burges)",
    train_images=PublishedFile(
        name="train-images-idx3-ubyte",
        shape=(60000, 28, 28),
        content_sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    train_labels=PublishedFile(
        name="train-labels-idx1-ubyte",
        shape=(60000,),
        content_sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    test_images=PublishedFile(
        name="t10k-images-idx3-ubyte",
        shape=(10000, 28, 28),
        content_sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    test_labels=PublishedFile(
        name="t10k-labels-idx1-ubyte",
        shape=(10000,),
        content_sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    n_validation=10000,
    mean_sd=(0.1307, 0.3081),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    is_default_owner=True,
)

# The publisher gives MD5 sums of the archives; these are the SHA-256 sums of the same bytes.
FASHION_MNIST = ImageSet(
    name="fashion-mnist",
    summary="70,000 articles of clothing of 28x28 pixels (Zalando; arXiv:1708.07747)",
    train_images=PublishedFile(
        name="train-images-idx3-ubyte",
        shape=(60000, 28, 28),
        archive_sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    train_labels=PublishedFile(
        name="train-labels-idx1-ubyte",
        shape=(60000,),
        archive_sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    test_images=PublishedFile(
        name="t10k-images-idx3-ubyte",
        shape=(10000, 28, 28),
        archive_sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    test_labels=PublishedFile(
        name="t10k-labels-idx1-ubyte",
        shape=(10000,),
        archive_sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
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
        n_inputs=math.prod(image_set.train_images.shape[1:]),
        n_classes=_N_CLASSES,
        load=partial(load_image_set, image_set),
        is_present=partial(is_present, image_set),
    )
    for image_set in IMAGE_SETS
)
"""The image sets as the registry holds them; a set of four IDX files is added in this file."""
