"""Skipping the tests of a trainer that is not installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.required_here import not_here

LIGHTNING_WARNINGS = (
    "ignore:.*does not have many workers:UserWarning",  # advice; two cores
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",  # torch's, called by Lightning
    "ignore:Checkpoint directory .* exists and is not empty:UserWarning",  # wanted
    "ignore:Be aware that when using `ckpt_path`:UserWarning",  # a resumed run saves nothing
)


@pytest.fixture(scope="session")
def lightning_is_here() -> None:
    """Skip where Lightning is missing."""
    if find_spec("lightning") is None:
        not_here("Lightning is not installed (pip install 'antifragile[lightning]')")


@pytest.fixture(scope="session")
def transformers_are_here() -> None:
    """Skip where Hugging Face's Trainer is missing."""
    if find_spec("transformers") is None or find_spec("accelerate") is None:
        not_here("transformers are not installed (pip install 'antifragile[huggingface]')")


@pytest.fixture(scope="session")
def accelerate_is_here() -> None:
    """Skip where Accelerate is missing."""
    if find_spec("accelerate") is None:
        not_here("Accelerate is not installed (pip install 'antifragile[huggingface]')")


@pytest.fixture(scope="session")
def skorch_is_here() -> None:
    """Skip where skorch is missing."""
    if find_spec("skorch") is None:
        not_here("skorch is not installed (pip install 'antifragile[test-all]')")
