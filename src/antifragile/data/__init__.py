"""Stage 2: verified bytes to tensors to splits, and ZeroR, the accuracy to beat."""

from antifragile.data.datasets import (
    DatasetSource,
    dataset_names,
    dataset_sources,
    load_dataset,
    register_dataset,
)
from antifragile.data.files import Access
from antifragile.data.idx import gunzip, parse_idx
from antifragile.data.splits import Dataset, Split, seeded_split

__all__ = [
    "Access",
    "Dataset",
    "DatasetSource",
    "Split",
    "dataset_names",
    "dataset_sources",
    "gunzip",
    "load_dataset",
    "parse_idx",
    "register_dataset",
    "seeded_split",
]
