"""The data sets that need no file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from antifragile.config.specs.training import Normalization
from antifragile.data.datasets import load_dataset
from antifragile.errors import DataError


@pytest.mark.parametrize(
    ("name", "sizes", "n_inputs", "n_classes"),
    [
        ("digits", [1197, 300, 300], 64, 10),
        ("mnist1d", [3200, 800, 1000], 40, 10),
        ("tiny", [32, 16, 16], 16, 4),
    ],
)
def test_sizes_and_dtypes(name: str, sizes: list[int], n_inputs: int, n_classes: int) -> None:
    dataset = load_dataset(name)
    assert [split.n_samples for _, split in dataset.splits()] == sizes
    assert (dataset.n_inputs, dataset.n_classes) == (n_inputs, n_classes)
    for _, split in dataset.splits():
        assert split.images.dtype == torch.float32
        assert split.images.is_contiguous()
        assert split.labels.dtype == torch.int64


@pytest.mark.parametrize("name", ["digits", "mnist1d", "tiny"])
def test_standardize_uses_the_training_split_alone(name: str) -> None:
    unit = load_dataset(name, normalization=Normalization.UNIT)
    standard = load_dataset(name)
    pixels = unit.train.images.double()
    assert (unit.mean, unit.sd) == (0.0, 1.0)
    assert standard.mean == pytest.approx(float(pixels.mean()), rel=1e-12)
    assert standard.sd == pytest.approx(float(pixels.std(correction=0)), rel=1e-12)
    expected = (unit.test.images - standard.mean) / standard.sd
    assert torch.allclose(standard.test.images, expected, atol=1e-6)


def test_unit_digits_are_sixteenths() -> None:
    images = load_dataset("digits", normalization=Normalization.UNIT).train.images
    assert torch.equal(images * 16, (images * 16).round())
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)


def test_the_digits_split_never_changes() -> None:
    dataset = load_dataset("digits")
    assert [split.zero_r_correct for _, split in dataset.splits()] == [131, 35, 40]
    assert dataset.train.class_counts == (116, 126, 117, 131, 116, 122, 119, 117, 115, 118)


def test_other_digits_than_the_known_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = (np.zeros((2, 2)), np.zeros(2))
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda return_X_y: other)
    with pytest.raises(
        DataError,
        match=r"images of scikit-learn's digits have sha256 \w+, expected 20def7f7\w+; reinstall",
    ):
        load_dataset("digits")


def test_tiny_is_the_same_every_time_and_balanced() -> None:
    first, second = load_dataset("tiny"), load_dataset("tiny")
    assert torch.equal(first.train.images, second.train.images)
    assert first.train.images is not second.train.images
    assert [split.class_counts for _, split in first.splits()] == [(8,) * 4, (4,) * 4, (4,) * 4]
    pixels = (load_dataset("tiny", normalization=Normalization.UNIT).train.images * 16).int()
    assert pixels[0].tolist() == [10, 10, 11, 15, 2, 3, 0, 3, 5, 3, 5, 1, 5, 0, 0, 4]


def test_tiny_is_linearly_separable_but_noisy() -> None:
    for _, split in load_dataset("tiny", normalization=Normalization.UNIT).splits():
        row_sums = split.images.reshape(-1, 4, 4).sum(dim=2)
        assert torch.equal(row_sums.argmax(dim=1), split.labels)
        assert len(split.images.unique(dim=0)) == split.n_samples
