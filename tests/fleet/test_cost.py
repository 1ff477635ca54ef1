"""Cost grows linearly in trials and meta-loops; memory is flat and within its budget."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from antifragile.config.architecture import Architecture
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from antifragile.fleet.trainer import fleet_meta_loops
from tests.study.conftest import make_spec, write_toml

MIB = 2**20


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def specs(trials: int, meta_loops: int, dataset: str = "digits") -> list[TrialSpec]:
    return [
        TrialSpec(
            dataset=dataset,
            architecture=Architecture.parse("4*16"),
            mode=mode,
            trial=trial,
            meta_loops=meta_loops,
            training=TrainingOptions(batch_size=32),
        )
        for trial in range(1, trials + 1)
        for mode in ("none", "dropout", "hidden")
    ]


def seconds(data: Dataset, trials: int, meta_loops: int) -> float:
    """Processor seconds of one fleet."""
    started = time.process_time()
    for _ in fleet_meta_loops(specs(trials, meta_loops), data):
        pass
    return time.process_time() - started


BY_TRIALS = [(4, 10), (20, 10), (36, 10)]
BY_META_LOOPS = [(4, 10), (4, 50), (4, 90)]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [BY_TRIALS, BY_META_LOOPS], ids=["trials", "meta-loops"])
def test_cost_grows_linearly(digits: Dataset, sizes: list[tuple[int, int]]) -> None:
    """Equal steps cost the same.

    Other work on the machine only adds to a time, so the least of the rounds approaches the cost
    from above; a cost that is not linear does not pass however many rounds there are.
    """
    least = [float("inf")] * len(sizes)
    ratio = float("nan")
    for _ in range(30):
        least = [min(best, seconds(digits, *size)) for best, size in zip(least, sizes, strict=True)]
        ratio = (least[2] - least[1]) / (least[1] - least[0])
        if 0.5 < ratio < 2:
            return
    pytest.fail(f"the second step costs {ratio:.2f} times the first")


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_a_thousand_meta_loops_leak_nothing() -> None:
    tiny = load_dataset("tiny")
    before = 0
    for turn, _ in enumerate(fleet_meta_loops(specs(2, 1100, "tiny"), tiny)):
        if turn == 100:
            before = resident_bytes()
    assert resident_bytes() - before < 8 * MIB


def peak_bytes(folder: Path, budget_gib: float, precision: str, **spec: object) -> int:
    """Peak resident memory of a `study run` in a process of its own."""
    path = write_toml(make_spec(**spec), folder / "spec.toml")
    command = [sys.executable, "-m", "antifragile", "study", "run", str(path), "--workers", "1"]
    command += ["--store", str(folder / "s.db"), "--memory-budget", str(budget_gib)]
    command += ["--precision", precision]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("budget_gib", [0.5, 0.7])
def test_the_memory_budget_is_kept(
    budget_gib: float,
    precision: str,
    mnist_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTIFRAGILE_DATA", str(mnist_dir))
    (tmp_path / "small").mkdir()
    libraries = peak_bytes(tmp_path / "small", 1.0, precision, trials=1, meta_loops=1)
    used = peak_bytes(
        tmp_path,
        budget_gib,
        precision,
        dataset="mnist",
        architectures=["1*512"],
        trials=4,
        meta_loops=1,
        training={"batch_size": 256},
    )
    assert used - libraries < budget_gib * 2**30
