"""Share of an epoch that the Frustration Engine takes for itself, for 10 million weights.

    python -m benchmarks.speed.own_model

Every meta-loop trains 100 steps; its first two are left out, since units are found there once.
"""

from __future__ import annotations

import time
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from antifragile import FrustrationEngine
from antifragile.engine.frustration.slots import StateSlots, tensors_of

N_STEPS, BATCH, META_LOOPS = 100, 64, 6
MODES = ("none", "hidden", "output", "hidden+patience=1", "none+always-accept", "hidden+noise")


def ten_million() -> nn.Module:
    """Build an MLP of 10.0 million parameters."""
    torch.manual_seed(0)
    widths = (784, 2048, 2048, 2048)
    hidden = [
        part
        for fan_in, fan_out in pairwise(widths)
        for part in (nn.Linear(fan_in, fan_out), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(2048, 10))


def train_epoch(model: nn.Module) -> None:
    """Train 100 steps on random numbers."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        loss = cross_entropy(model(torch.randn(BATCH, 784)), torch.randint(0, 10, (BATCH,)))
        torch.autograd.backward(loss)
        optimizer.step()


@torch.no_grad()
def evaluate(model: nn.Module) -> float:
    """Draw a score, so that about as many candidates are promoted as in a real run."""
    model(torch.randn(BATCH, 784))
    return float(torch.rand(()))


def main() -> None:
    """Print a line for each mode."""
    n_weights = sum(value.numel() for value in ten_million().parameters())
    print(f"{n_weights:,} parameters, {N_STEPS} steps of {BATCH} samples an epoch")
    print("mode                 own ms   epoch s    share  copies of the weights")
    for mode in MODES:
        engine = FrustrationEngine(ten_million(), train_epoch, evaluate, mode=mode)
        started = time.perf_counter()
        records = list(engine.run(2))
        first_s = time.perf_counter() - started
        records = list(engine.run(META_LOOPS))
        own = sum(record.own_seconds for record in records) / len(records)
        whole = sum(record.seconds for record in records) / len(records)
        slots: StateSlots = engine._candidate.slots
        copies = sum(
            value.numel() for slot in slots.filled for value in slots.tensors(slot).values()
        ) / sum(value.numel() for value in tensors_of(ten_million()).values())
        print(
            f"{mode:<20} {1000 * own:7.1f} {whole:9.2f} {own / whole:8.2%} {copies:6.1f}"
            f"   (first two loops {first_s:.1f} s)"
        )


if __name__ == "__main__":
    main()
