"""States of the random generators that a user's training may draw from.

A training loop shuffles and drops out with torch's, NumPy's or Python's global generators; a run
that is resumed goes on exactly only if they do.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def generator_states() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the states: tensors by name, and what JSON can hold."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        for device, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"cuda.{device}"] = state
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict), "asked for as a mapping"
    counter = dict(numpy["state"])
    words = counter.pop("key")
    tensors["numpy"] = torch.from_numpy(words.astype(np.int64))
    version, numbers, gauss = random.getstate()
    tensors["python"] = torch.tensor(numbers, dtype=torch.int64)
    return tensors, {
        "numpy": {**numpy, "state": {key: int(value) for key, value in counter.items()}},
        "python": [version, gauss],
    }


def restore_generators(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Set the generators to states that `generator_states` returned."""
    torch.set_rng_state(tensors["torch"])
    for name, state in tensors.items():
        kind, _, device = name.partition(".")
        if kind == "cuda" and torch.cuda.is_available():
            torch.cuda.set_rng_state(state, int(device))
    numpy = values["numpy"]
    key = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    version, gauss = values["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
