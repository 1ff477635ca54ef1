"""Two processes: DistributedDataParallel, and the two kinds of sharding, all presets in one go.

python -m torch.distributed.run --nproc-per-node=2 --standalone -m \
        benchmarks.trust.trainers.processes FILE
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from antifragile.optim import PRESETS, perturb
from benchmarks.trust.trainers.judging import Judged, judge
from benchmarks.trust.trainers.loops import (
    SEED,
    STEPS,
    Loop,
    Pair,
    batch,
    network,
    rules_of,
    sgd,
    weights,
)

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = ("DDP", "FSDP1", "FSDP2")


def run_in_two_processes() -> dict[str, dict[str, Judged]]:
    """Judge all presets in two processes, as the first of them sees it; column, preset."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "judged.json")
        launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m"]
        done = subprocess.run(
            [sys.executable, *launch, "benchmarks.trust.trainers.processes", str(file)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        if not file.exists():
            raise RuntimeError(done.stderr[-2000:])
        found = json.loads(file.read_text())
    return {
        column: {preset: Judged(*row) for preset, row in rows.items()}
        for column, rows in found.items()
    }


def numbers() -> range:
    """Numbers of the batches of this process."""
    return range(dist.get_rank(), 2 * STEPS, 2)


def by_hand(preset: str) -> Tensor:
    """Average the gradients of both processes by hand."""
    loop = Loop(preset)

    def average() -> None:
        for parameter in loop.model.parameters():
            assert parameter.grad is not None
            parameter.grad.div_(2)
            dist.all_reduce(parameter.grad)

    return loop.train(numbers(), finish=average)


def ddp(preset: str) -> Pair:
    """Train by DistributedDataParallel."""
    return Loop(preset, DistributedDataParallel).train(numbers()), by_hand(preset)


def fsdp1(preset: str) -> Pair:
    """Perturb the optimizer of a model that FullyShardedDataParallel wraps."""
    model = FullyShardedDataParallel(network(), device_id=torch.device("cpu"))
    _train_sharded(model, preset)
    with FullyShardedDataParallel.summon_full_params(model):
        return weights(model), by_hand(preset)


def fsdp2(preset: str) -> Pair:
    """Perturb the optimizer of a model that `fully_shard` shards."""
    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    _train_sharded(model, preset)
    whole = [p.full_tensor().detach().flatten() for p in model.parameters()]  # type: ignore[attr-defined]
    return torch.cat(whole), by_hand(preset)


def _train_sharded(model: nn.Module, preset: str) -> None:
    optimizer = sgd(model)
    perturb(optimizer, rules_of(preset), model=model, seed=SEED)
    for number in numbers():
        optimizer.zero_grad()
        x, y = batch(number)
        cross_entropy(model(x), y).backward()
        optimizer.step()


def main() -> None:
    """Judge all presets and let the first process write what it found."""
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    cases = dict(zip(COLUMNS, (ddp, fsdp1, fsdp2), strict=True))
    found = {
        column: {preset: list(judge(case, preset)) for preset in PRESETS}
        for column, case in cases.items()
    }
    if dist.get_rank() == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))
    dist.barrier()
    os._exit(0)  # gloo may abort a normal exit


if __name__ == "__main__":
    main()
