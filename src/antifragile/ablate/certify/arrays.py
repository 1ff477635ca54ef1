"""Named arrays in one safetensors file, bit for bit, whatever their number type.

Types that the format lacks (complex128, long double) are stored as bytes beside their name.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from antifragile.ablate.frameworks.arrays import Leaves

_NAMES = ("bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
_KINDS = {np.dtype(name).str for name in _NAMES}  # stored as they are


def save_arrays(path: Path, arrays: Leaves) -> None:
    """Write arrays of number types under their names."""
    dtypes = {name: array.dtype.str for name, array in arrays.items()}
    dense = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    stored = {
        name: array if dtypes[name] in _KINDS else array[..., None].view(np.uint8)
        for name, array in dense.items()
    }
    save_file(stored, path, metadata={"dtypes": json.dumps(dtypes)})


def load_arrays(path: Path) -> Leaves:
    """Read a file's arrays in the order they were given; changes to them stay in this process."""
    with safe_open(path, framework="np") as file:
        dtypes = json.loads(file.metadata()["dtypes"])
        stored = {name: file.get_tensor(name) for name in dtypes}
    return {
        name: array if array.dtype == dtypes[name] else array.view(dtypes[name])[..., 0]
        for name, array in stored.items()
    }
