"""A named data set before it is loaded: the record that the registry and plug-ins consist of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from antifragile.config.specs.training import Normalization
from antifragile.data.files import Access
from antifragile.data.splits import Dataset


def needs_no_file(access: Access) -> bool:
    """Say that a data set is present everywhere: for those that are computed or embedded."""
    return True


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """A named data set before it is loaded.

    Args:
        name: The name that users write.
        summary: One line about it.
        n_inputs: Values per image.
        n_classes: Number of classes.
        load: Called as ``load(access, normalization)``; returns the three splits.
        is_present: Whether loading needs no download; raises like `load` on corrupted files.
    """

    name: str
    summary: str
    n_inputs: int
    n_classes: int
    load: Callable[[Access, Normalization], Dataset]
    is_present: Callable[[Access], bool] = needs_no_file
