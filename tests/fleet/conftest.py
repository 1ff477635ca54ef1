"""Small random data sets: parity needs numbers, not pictures."""

from __future__ import annotations

import pytest

from antifragile.data.splits import Dataset
from tests.fleet.fleet_fakes import random_data


@pytest.fixture(scope="session")
def data() -> Dataset:
    """333 training samples of 37 inputs and 7 classes, float64."""
    return random_data()
