"""Train, validation and test splits in memory, and the majority-class accuracy of each.

``unit arrays -> seeded_split -> assemble -> Dataset``. ZeroR, the accuracy of always naming the
majority class, is the floor below which a network has learnt nothing (PSA paper, section III).
PyTorch is imported where it is used: who only asks what a data set is called waits for no second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from antifragile.config.specs.training import Normalization
from antifragile.errors import DataError

if TYPE_CHECKING:
    import torch

SPLIT_SEED = 1337
SPLIT_NAMES = ("train", "validation", "test")

Arrays = tuple[np.ndarray, np.ndarray]
"""``(N, d)`` float32 unit pixels and ``(N,)`` integer labels of one split."""


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their labels.

    Args:
        images: (N, d) float32 (float64 for exact comparisons), contiguous, normalised.
        labels: (N,) int64, classes 0..C-1.

    Raises:
        DataError: Shapes, dtypes or lengths do not fit, or there is no sample.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __post_init__(self) -> None:
        import torch

        images, labels = self.images, self.labels
        floats = (torch.float32, torch.float64)
        if images.ndim != 2 or images.dtype not in floats or not images.is_contiguous():
            raise DataError(
                "images of a split must be a contiguous (N, d) float32 tensor; got shape "
                f"{tuple(images.shape)}, {images.dtype}. Use .flatten(1).float().contiguous()."
            )
        if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
            raise DataError(
                f"labels of a split must be a ({len(images)},) int64 tensor; got shape "
                f"{tuple(labels.shape)}, {labels.dtype}. Give one class per image."
            )
        if images.numel() == 0:
            raise DataError(
                "a split needs at least one image of at least one input; "
                f"got shape {tuple(images.shape)}."
            )
        if int(labels.min()) < 0:
            raise DataError(f"labels must be 0..C-1; got {int(labels.min())}. Renumber them.")

    @property
    def n_samples(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def n_inputs(self) -> int:
        """Values per image, d."""
        return self.images.shape[1]

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """Samples of each class, from 0 to the highest class that occurs in this split."""
        return tuple(self.labels.bincount().tolist())

    @property
    def zero_r_correct(self) -> int:
        """Number of samples in the majority class of this split."""
        return max(self.class_counts)

    @property
    def zero_r(self) -> float:
        """Accuracy of the majority class of this split, in percent."""
        return 100 * self.zero_r_correct / self.n_samples

    def to(self, device: str, dtype: torch.dtype | None = None) -> Split:
        """The same samples on a device, the images optionally in another float type."""
        return Split(self.images.to(device, dtype), self.labels.to(device))


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A loaded data set: three splits and the scale of their pixels.

    Args:
        name: The name it was asked for by, as in a study spec.
        description: One line about where it comes from.
        train: Samples that networks are trained on.
        validation: Samples that decide promotions.
        test: Looked at once, at the end; never used for selection.
        n_inputs: Values per image, d.
        n_classes: C.
        normalization: ``unit`` or ``standardize``.
        mean: Number subtracted from unit pixels; 0 for ``unit``.
        sd: Number they were then divided by; 1 for ``unit``.
    """

    name: str
    description: str
    train: Split
    validation: Split
    test: Split
    n_inputs: int
    n_classes: int
    normalization: Normalization
    mean: float
    sd: float

    def __post_init__(self) -> None:
        for which, split in self.splits():
            if split.n_inputs != self.n_inputs:
                raise DataError(
                    f"the {which} split of {self.name!r} has {split.n_inputs} inputs per image, "
                    f"expected {self.n_inputs}; all splits must agree."
                )
            if len(split.class_counts) > self.n_classes:
                raise DataError(
                    f"the {which} split of {self.name!r} has label {len(split.class_counts) - 1}, "
                    f"expected 0..{self.n_classes - 1}."
                )

    def splits(self) -> Iterator[tuple[str, Split]]:
        """``("train", ...)``, ``("validation", ...)``, ``("test", ...)``."""
        for which in SPLIT_NAMES:
            yield which, getattr(self, which)

    @cached_property
    def sha256(self) -> str:
        """Checksum of the content of all splits, stored with every study."""
        digest = hashlib.sha256()
        for which, split in self.splits():
            digest.update(f"{which} {tuple(split.images.shape)}".encode())
            for tensor in (split.images, split.labels):
                digest.update(tensor.cpu().numpy().data)
        return digest.hexdigest()

    def to(self, device: str, dtype: torch.dtype | None = None) -> Dataset:
        """The same data on a device, the images optionally in another float type."""
        return replace(
            self,
            train=self.train.to(device, dtype),
            validation=self.validation.to(device, dtype),
            test=self.test.to(device, dtype),
        )


def seeded_split(n_samples: int, sizes: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Cut one permutation of all samples into parts.

    The same indices as ``torch.utils.data.random_split`` with a generator seeded by 1337, which
    is what the paper's released code uses.

    Args:
        n_samples: N, the sum of ``sizes``.
        sizes: Samples per part.

    Returns:
        One int64 array of indices per part, in the order they were drawn.
    """
    import torch

    assert sum(sizes) == n_samples, f"parts {list(sizes)} do not add up to {n_samples}"
    generator = torch.Generator(device="cpu").manual_seed(SPLIT_SEED)
    order = torch.randperm(n_samples, generator=generator, device="cpu", dtype=torch.int64).numpy()
    return tuple(np.split(order, np.cumsum(sizes)[:-1]))


def assemble(
    *,
    name: str,
    description: str,
    arrays: Mapping[str, Arrays],
    n_classes: int,
    normalization: Normalization,
    mean_sd: tuple[float, float] | None = None,
) -> Dataset:
    """Turn unit arrays into a normalised data set.

    Args:
        name: The name it was asked for by.
        description: One line about where it comes from.
        arrays: The arrays of every split; the images are changed in place.
        n_classes: C.
        normalization: Scale of the inputs, computed from unit pixels.
        mean_sd: The publisher's constants for ``standardize``; without them, the scalar mean and
            population sd of the training images.
    """
    import torch

    mean, sd = 0.0, 1.0
    if normalization is Normalization.STANDARDIZE:
        mean, sd = mean_sd or scalar_mean_sd(arrays["train"][0])
    splits = {
        which: Split(
            torch.from_numpy(images).sub_(mean).div_(sd),
            torch.from_numpy(labels.astype(np.int64)),
        )
        for which, (images, labels) in arrays.items()
    }
    return Dataset(
        name=name,
        description=description,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        n_inputs=splits["train"].n_inputs,
        n_classes=n_classes,
        normalization=normalization,
        mean=mean,
        sd=sd,
    )


def scalar_mean_sd(images: np.ndarray) -> tuple[float, float]:
    """Compute mean and population sd over all values of all images; the sd of constant images is 1.

    Computed in float64 from plain sums, which are exact for pixels that are multiples of 1/16,
    so the numbers do not depend on the machine or its number of threads.
    """
    mean = float(images.mean(dtype=np.float64))
    if images.min() == images.max():
        return mean, 1.0
    mean_square = float(np.square(images, dtype=np.float64).mean())
    return mean, float(np.sqrt(mean_square - mean * mean))
