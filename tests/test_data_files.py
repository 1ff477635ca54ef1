"""Files of JSON and TOML: deep nesting is refused before anything stumbles over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from antifragile._data_files import read_json, read_toml


@pytest.mark.parametrize("depth", [101, 900, 100_000])
@pytest.mark.parametrize(
    ("read", "before", "opening", "inmost", "closing"),
    [
        (read_json, "", '{"a":', "1", "}"),
        (read_json, "", "[", "1", "]"),
        (read_toml, "a = ", "[", "1", "]"),
        (read_toml, "", "a.", "a = 1", ""),
    ],
)
def test_deep_nesting_is_refused(
    tmp_path: Path,
    read: Callable[[Path], object],
    before: str,
    opening: str,
    inmost: str,
    closing: str,
    depth: int,
) -> None:
    path, depth = tmp_path / "data", min(depth, 2_000) if opening == "a." else depth
    path.write_text(before + opening * depth + inmost + closing * depth)
    with pytest.raises(ValueError, match="nested too deeply"):
        read(path)


def test_shallow_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").write_text('a = [[[1]]]\nb.c.d = "x"')
    assert read_toml(tmp_path / "data") == {"a": [[[1]]], "b": {"c": {"d": "x"}}}
