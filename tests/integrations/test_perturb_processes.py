"""Perturbed trainings in two processes: as a hand-written distributed loop, and alike on ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.integrations.test_processes import two_processes

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")

PLAIN = """
import sys
from pathlib import Path
import torch
from torch import distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler
from antifragile.optim import perturb
from tests.integrations.digits import N_TRAIN, images, seeded_network
from tests.integrations.perturbed import BATCH, MIXED, SEED, adamw, adamw_in_groups

dist.init_process_group("gloo")
rank = dist.get_rank()
for name in ("lightning", "huggingface"):
    net = seeded_network()
    model = DistributedDataParallel(net)
    optimizer = adamw(net.parameters()) if name == "lightning" else adamw_in_groups(net)
    perturb(optimizer, MIXED, model=net, seed=SEED)
    x, y = images()
    for epoch in range(2):
        sampler = DistributedSampler(range(N_TRAIN))  # as Lightning puts in, which shuffles
        sampler.set_epoch(epoch)
        rows = torch.tensor(list(sampler))
        if name == "huggingface":
            rows = torch.arange(N_TRAIN).view(-1, BATCH)[rank::2].flatten()
        for part in rows.split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
    torch.save(net.state_dict(), Path(sys.argv[1], f"plain-{name}-{rank}.pt"))
dist.barrier()
"""

LIGHTNING = """
import sys, warnings
from pathlib import Path
import lightning.pytorch as pl
import torch
from antifragile.integrations.lightning import Perturb
from tests.integrations import lightning_perturbed as runs
from tests.integrations.perturbed import MIXED, SEED

class Tell(pl.Callback):
    def on_train_end(self, trainer, module):
        file = Path(sys.argv[1], f"lightning-{type(module).__name__}-{trainer.global_rank}.pt")
        torch.save(module.net.state_dict(), file)

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for kind in (runs.Parts, runs.Whole):
        runs.fit(
            Perturb(MIXED, seed=SEED), Tell(), module=kind(), strategy="ddp_spawn", devices=2,
            limit_val_batches=1, num_sanity_val_steps=0,
        )
"""

HUGGINGFACE = """
import os, sys
from pathlib import Path
import torch
from antifragile.integrations.huggingface import Perturb
from tests.integrations import huggingface_perturbed as runs
from tests.integrations.perturbed import MIXED, SEED

if __name__ == "__main__":
    trainer = runs.train(Path(sys.argv[1], "out"), Perturb(MIXED, seed=SEED), ddp_backend="gloo")
    rank = trainer.args.process_index
    torch.save(trainer.model.net.state_dict(), Path(sys.argv[1], f"huggingface-{rank}.pt"))
"""


def weights(folder: Path, name: str, output: str) -> list[torch.Tensor]:
    """Load what both processes saved, as one vector each."""
    files = [folder / f"{name}-{rank}.pt" for rank in (0, 1)]
    assert all(file.exists() for file in files), output[-3000:]
    saved = [torch.load(file, weights_only=True) for file in files]
    return [torch.cat([value.flatten() for value in state.values()]) for state in saved]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train by hand in two processes; the folder has the weights."""
    folder = tmp_path_factory.mktemp("plain")
    output = two_processes(folder, PLAIN, launch=TORCHRUN)
    for name in ("lightning", "huggingface"):
        one, other = weights(folder, f"plain-{name}", output)
        assert torch.equal(one, other)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("lightning_is_here")
def test_lightning_trains_in_two_processes_as_a_loop_does(plain: Path, tmp_path: Path) -> None:
    output = two_processes(tmp_path, LIGHTNING)
    expected, _ = weights(plain, "plain-lightning", "")
    for kind in ("Parts", "Whole"):
        for found in weights(tmp_path, f"lightning-{kind}", output):
            assert torch.equal(found, expected), kind


@pytest.mark.slow
@pytest.mark.usefixtures("transformers_are_here")
def test_hugging_face_trains_in_two_processes_as_a_loop_does(plain: Path, tmp_path: Path) -> None:
    output = two_processes(tmp_path, HUGGINGFACE, launch=TORCHRUN)
    expected, _ = weights(plain, "plain-huggingface", "")
    for found in weights(tmp_path, "huggingface", output):
        assert torch.equal(found, expected)
