"""The registry: names, near misses, and no surprises on import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from antifragile.config.specs.training import Normalization
from antifragile.data import datasets
from antifragile.data.datasets import dataset_sources, load_dataset
from antifragile.data.source import DatasetSource
from antifragile.errors import DataError
from tests.data.data_fakes import Server


def test_the_names_are_registered_once_each() -> None:
    assert tuple(source.name for source in dataset_sources()) == (
        "mnist",
        "fashion-mnist",
        "digits",
        "mnist1d",
        "tiny",
    )
    assert all(source.summary and "\n" not in source.summary for source in dataset_sources())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits", r"unknown data set 'mnits'; did you mean 'mnist'\? Your own arrays are npz:PATH"),
        (
            "",
            r"unknown data set ''; expected one of digits, fashion-mnist, mnist, mnist1d, tiny\. "
            ".*npz:PATH",
        ),
        ("mine.npz", r"unknown data set 'mine\.npz'; .*npz:PATH"),
    ],
)
def test_an_unknown_name_names_the_nearest(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(name)


def test_an_unknown_normalization_is_refused() -> None:
    with pytest.raises(DataError, match=r"unknown normalization 'units'; did you mean 'unit'\?"):
        load_dataset("tiny", normalization="units")
    assert load_dataset("tiny", normalization="unit").normalization is Normalization.UNIT


def test_mirrors_are_an_argument(
    serve: Callable[..., Server], tmp_path: Path, user_cache: Path
) -> None:
    empty = serve({})
    with pytest.raises(DataError, match=rf"{empty.url}/train-images-idx3-ubyte.gz failed: .*404"):
        load_dataset("mnist", data_dir=tmp_path, mirrors=[empty.url], progress=True)
    assert empty.asked == ["/train-images-idx3-ubyte.gz"]
    assert not (tmp_path / "mnist").exists()


def test_a_registered_set_is_loaded_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = dataset_sources()[-1]
    mine = DatasetSource(name="mine", summary="x", n_inputs=16, n_classes=4, load=tiny.load)
    monkeypatch.setitem(datasets._SOURCES, "mine", mine)
    assert load_dataset("mine").train.n_samples == 32


def test_importing_changes_no_global_state() -> None:
    code = """
import torch, logging, warnings, numpy
def state():
    return (torch.get_rng_state().sum().item(), torch.get_default_dtype(), torch.get_num_threads(),
            len(warnings.filters), logging.root.level, list(logging.root.handlers),
            numpy.random.get_state()[1].sum(), numpy.geterr())
import pooch, rich.progress, pandas
before = state()
import antifragile.data.datasets
antifragile.data.datasets.load_dataset("tiny")
assert before == state()
import sys
late = {"sklearn", "scipy.ndimage"}  # up to a second of import, for those who load digits, mnist1d
assert not late & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
