"""Arrays in one mapped file come back bit for bit, and stay as written whoever changes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from antifragile.ablate.certify.arrays import load_arrays, save_arrays

KINDS = st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool", "complex64"])
ARRAYS = arrays_of.arrays(KINDS, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0))


@given(st.dictionaries(st.text(max_size=8), ARRAYS, max_size=5))
def test_arrays_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "file"
    save_arrays(path, arrays)
    found = load_arrays(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_a_reader_changes_its_own_copy_only(tmp_path: Path) -> None:
    save_arrays(tmp_path / "file", {"x": np.arange(4.0).T, "turned": np.eye(3)[:, ::-1]})
    load_arrays(tmp_path / "file")["x"][:] = 7
    again = load_arrays(tmp_path / "file")
    assert again["x"].tolist() == [0, 1, 2, 3]
    assert again["turned"].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
