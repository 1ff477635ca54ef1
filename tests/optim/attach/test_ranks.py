"""Two processes draw the same noise, or each its own, as the flag says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# torch 2.13 after gloo aborts in about one of ten exits of the interpreter ("terminate called
# without an active exception"), also without this package; the program has ended by then.
_PROGRAM = """
import os
import sys
import torch
import torch.distributed as dist
from antifragile.optim import Gaussian, Rule, perturb

rank, rendezvous = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
for per_rank in (False, True):
    weight = torch.nn.Parameter(torch.zeros(100))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    perturb(optimizer, Rule("weight", Gaussian(), 1.0), per_rank=per_rank)
    for _ in range(3):
        weight.grad = torch.zeros(100)
        optimizer.step()
        found = [torch.empty(100) for _ in range(2)]
        dist.all_gather(found, weight.detach().clone())
        assert torch.equal(*found) != per_rank, (per_rank, found)
dist.barrier()
print("done", flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_two_ranks_agree_or_differ_by_the_flag(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(rank), str(tmp_path / "meet")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    printed = [process.communicate(timeout=240) for process in ranks]
    assert [out for out, _ in printed] == ["done\n", "done\n"], printed
