"""Fixtures that skip the tests of a trainer that is not installed."""

from tests.integrations.needed import lightning_is_here, transformers_are_here

__all__ = ["lightning_is_here", "transformers_are_here"]
