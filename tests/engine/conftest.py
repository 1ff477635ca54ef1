"""A small data set and a spec that several test modules train on."""

import pytest

from antifragile.config.architecture import Architecture
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    return load_dataset("tiny")


@pytest.fixture
def spec() -> TrialSpec:
    return TrialSpec(
        dataset="tiny",
        architecture=Architecture.parse("[1*6, 1*5]"),
        mode="none",
        meta_loops=6,
        training=TrainingOptions(learning_rate=0.01, batch_size=5, dropout=0.3, weight_decay=0.1),
    )
