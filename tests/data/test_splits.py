"""Splits count their classes, are drawn as the paper draws them, and refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import random_split

from antifragile.config.specs.training import Normalization
from antifragile.data.splits import Dataset, Split, scalar_mean_sd, seeded_split
from antifragile.errors import DataError


def split_of(labels: list[int], n_inputs: int = 2) -> Split:
    return Split(torch.zeros(len(labels), n_inputs), torch.tensor(labels))


def dataset_of(**changes: object) -> Dataset:
    parts = dict.fromkeys(("train", "validation", "test"), split_of([0, 1]))
    common = {"name": "x", "description": "", "n_inputs": 2, "n_classes": 2, "mean": 0.0, "sd": 1.0}
    return Dataset(**({**parts, **common, "normalization": Normalization.UNIT} | changes))


def test_zero_r_is_the_share_of_the_majority_class() -> None:
    split = split_of([0, 2, 2, 1, 2, 0, 0, 2])
    assert split.n_samples == 8
    assert split.class_counts == (3, 1, 4)
    assert split.zero_r_correct == 4
    assert split.zero_r == 50.0


@given(st.lists(st.integers(0, 5), min_size=1))
def test_zero_r_is_what_a_constant_answer_can_reach(labels: list[int]) -> None:
    split = split_of(labels)
    assert split.zero_r_correct == max(labels.count(answer) for answer in range(6))
    assert sum(split.class_counts) == split.n_samples == len(labels)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 3), torch.zeros(2).long(), r"\(N, d\) float32 .* got shape \(2, 3, 3\)"),
        (torch.zeros(2, 3).half(), torch.zeros(2).long(), r"got shape .* torch\.float16"),
        (torch.zeros(3, 2).T, torch.zeros(2).long(), "contiguous"),
        (torch.zeros(2, 3), torch.zeros(3).long(), r"\(2,\) int64 tensor; got shape \(3,\)"),
        (torch.zeros(2, 3), torch.zeros(2), "torch.float32. Give one class per image"),
        (torch.zeros(0, 3), torch.zeros(0).long(), "at least one image"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), "labels must be 0..C-1; got -1"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Split(images, labels)


def test_splits_of_one_data_set_must_agree() -> None:
    assert [which for which, _ in dataset_of().splits()] == ["train", "validation", "test"]
    with pytest.raises(DataError, match="test split of 'x' has 3 inputs per image, expected 2"):
        dataset_of(test=split_of([0], n_inputs=3))
    with pytest.raises(DataError, match=r"validation split of 'x' has label 2, expected 0\.\.1"):
        dataset_of(validation=split_of([2]))


@pytest.mark.parametrize("sizes", [(50000, 10000), (7, 2, 1), (5,)])
def test_indices_are_those_of_random_split(sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1337)
    theirs = random_split(range(sum(sizes)), sizes, generator=generator)
    ours = seeded_split(sum(sizes), sizes)
    assert [part.tolist() for part in ours] == [list(part.indices) for part in theirs]


def test_the_first_indices_of_the_mnist_split_never_change() -> None:
    train, _ = seeded_split(60000, (50000, 10000))
    assert train[:5].tolist() == [27415, 57082, 25212, 22657, 23939]


def test_splitting_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    seeded_split(100, (90, 10))
    assert torch.equal(torch.get_rng_state(), before)


def test_mean_and_sd_are_those_of_the_population() -> None:
    assert scalar_mean_sd(np.array([[0, 1], [0, 1]], np.float32)) == (0.5, 0.5)
    assert scalar_mean_sd(np.full((3, 3), 0.1, np.float32))[1] == 1.0


@given(st.lists(st.integers(0, 255), min_size=2, max_size=50))
def test_mean_and_sd_agree_with_numpy(pixels: list[int]) -> None:
    unit = (np.array([pixels]) / 255).astype(np.float32)
    mean, sd = scalar_mean_sd(unit)
    assert mean == pytest.approx(unit.mean(dtype=np.float64))
    assert sd == pytest.approx(unit.std(dtype=np.float64) or 1.0, rel=1e-9)


def test_the_checksum_tells_contents_apart_and_nothing_else() -> None:
    same, other = dataset_of(name="renamed"), dataset_of(test=split_of([1, 0]))
    assert dataset_of().sha256 == same.sha256
    assert dataset_of().sha256 != other.sha256


def test_moving_changes_the_images_type_and_leaves_the_original() -> None:
    original = dataset_of()
    moved = original.to("cpu", torch.float64)
    assert {split.images.dtype for _, split in moved.splits()} == {torch.float64}
    assert {split.labels.dtype for _, split in moved.splits()} == {torch.int64}
    assert original.train.images.dtype == torch.float32
