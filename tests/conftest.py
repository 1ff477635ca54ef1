"""Other people's data: found next to the repository or by $ANTIFRAGILE_DATA, else skipped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Threads of several tests at a time, for tiny products, would wait for each other and not work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_BESIDE = Path(__file__).resolve().parents[1].parent / "shared" / "data"
_MNIST_FILE = "train-images-idx3-ubyte"

# A shell starts background commands deaf to Ctrl-C, and their children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """A folder to pass as ``data_dir`` in which the real MNIST files lie."""
    named = os.environ.get("ANTIFRAGILE_DATA")
    for place in ([Path(named)] if named else []) + [_BESIDE]:
        for folder in (place / "mnist", place):
            if any((folder / f"{_MNIST_FILE}{end}").is_file() for end in (".gz", "")):
                return place
    pytest.skip(f"the MNIST files are neither in $ANTIFRAGILE_DATA nor in {_BESIDE}/mnist")


@pytest.fixture(scope="session")
def paper_trials() -> Path:
    """The CSV of the paper's 5,880 trials."""
    path = _BESIDE / "psa" / "paper_trials.csv"
    if not path.is_file():
        pytest.skip(f"the paper's trials are not at {path}")
    return path


@pytest.fixture(scope="session")
def paper_convergence() -> Path:
    """The CSV of the curves of the best trial of each of the paper's 588 cells."""
    path = _BESIDE / "psa" / "paper_convergence.csv"
    if not path.is_file():
        pytest.skip(f"the paper's curves are not at {path}")
    return path
