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
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from antifragile.errors import UsageError
from antifragile.optim import Gaussian, Rule, perturb, presets

rank, rendezvous = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
torch.manual_seed(rank)  # the seed of the noise is that of the first rank
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


def is_refused(words, parameters, rules, **options):
    try:
        perturb(torch.optim.SGD(parameters, lr=0.1), rules, **options)
    except UsageError as error:
        return words in str(error)
    return False


ranked = presets.annealed_gradient_noise()
weights = [torch.nn.Parameter(torch.zeros(3))]
assert is_refused("let the ranks' weights drift apart", weights, ranked, per_rank=True)
matrices = presets.random_weight_perturbation()
for rules in (ranked, presets.anti_pgd(), presets.sgld(), matrices):
    new = torch.nn.Linear(8, 8)
    fully_shard(new, mesh=init_device_mesh("cpu", (2,)))
    assert is_refused("DTensor", new.parameters(), rules, model=new)
    for keeps in (False, True):
        old = FullyShardedDataParallel(
            torch.nn.Linear(8, 8), use_orig_params=keeps, device_id=torch.device("cpu")
        )
        assert is_refused("FSDP", old.parameters(), rules, model=old), keeps
model = torch.nn.Sequential(torch.nn.Identity())
perturb(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), presets.input_noise(), model=model)
noisy = model(torch.zeros(100))
found = [torch.empty(100) for _ in range(2)]
dist.all_gather(found, noisy)
assert not torch.equal(*found)
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
