"""Fixtures that skip the tests of a trainer that is not installed."""

from tests.integrations.needed import (
    accelerate_is_here,
    lightning_is_here,
    skorch_is_here,
    transformers_are_here,
)

__all__ = ["accelerate_is_here", "lightning_is_here", "skorch_is_here", "transformers_are_here"]
