"""``antifragile data info`` and ``list``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from antifragile.cli.main import app
from antifragile.errors import DataError


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["data", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_info_shows_sizes_classes_and_zero_r() -> None:
    words = " ".join(run("info", "tiny").split())
    assert "tiny: 64 made-up images" in words
    assert "16 inputs, 4 classes; standardize" in words
    assert "train 32 25.00 % 8 8 8 8 8" in words
    assert "test 16 25.00 % 4 4 4 4 4" in words


def test_info_as_json_is_for_machines() -> None:
    about = json.loads(run("info", "digits", "--normalization", "unit", "--json"))
    assert about["normalization"] == "unit"
    assert (about["mean"], about["sd"], about["n_inputs"], about["n_classes"]) == (0, 1, 64, 10)
    train = about["splits"]["train"]
    assert (train["n_samples"], train["zero_r_correct"], train["zero_r"]) == (1197, 131, 10.94)
    assert sum(train["class_counts"]) == 1197


def test_info_counts_classes_that_a_split_lacks(tmp_path: Path) -> None:
    labels = np.zeros(20, int)
    labels[-1] = 2
    np.savez(tmp_path / "x.npz", images=np.zeros((20, 2)), labels=labels)
    about = json.loads(run("info", f"npz:{tmp_path / 'x.npz'}", "--json"))
    assert {len(split["class_counts"]) for split in about["splits"].values()} == {3}


def test_info_of_the_real_mnist(mnist_dir: Path) -> None:
    words = " ".join(run("info", "mnist", "--data-dir", str(mnist_dir)).split())
    for expected in ("50,000 11.28 % 5,640", "10,000 11.02 % 1,102", "10,000 11.35 % 1,135"):
        assert expected in words
    assert "784 inputs, 10 classes; standardize: (unit values - 0.1307) / 0.3081" in words


def test_errors_are_left_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown data set 'mnits'"):
        run("info", "mnits")
    with pytest.raises(DataError, match="downloading is switched off"):
        run("info", "mnist", "--no-download", "--data-dir", str(tmp_path))


def test_list_says_what_is_here(tmp_path: Path) -> None:
    words = " ".join(run("list").split())
    assert "mnist to be downloaded 70,000 handwritten digits" in words
    assert "tiny here 64 made-up images" in words
    assert "npz:PATH" in words
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"no")
    listed = json.loads(run("list", "--data-dir", str(tmp_path), "--json"))
    assert {row["name"]: row["files"] for row in listed} == {
        "mnist": "corrupted",
        "fashion-mnist": "to be downloaded",
        "digits": "here",
        "mnist1d": "here",
        "tiny": "here",
    }
