"""Training tasks of the learning-rate experiment: whole data sets, 100 samples, ten unlike clients.

A federated task trains every client's copy as a replica of its own and averages the copies of a
seed after every round (FedAvg). Its clients are unlike: the samples of each class are dealt out in
shares drawn from a Dirichlet law.

Shape letters: R replicas (seeds times clients), S seeds, C clients.

Source: McMahan et al. 2017, arXiv 1602.05629 (FedAvg); Hsu et al. 2019, arXiv 1909.06335
(Dirichlet shares).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from antifragile.config.seeds import SeedTree
from antifragile.data.splits import Split
from benchmarks.perturbation.training.loop import Orders
from benchmarks.perturbation.training.networks import ReplicaMLP, epoch_orders, stream


class Base(StrEnum):
    """The optimizer that is perturbed."""

    SGD = "sgd"
    ADAMW = "adamw"


HALF_DECADES: Mapping[Base, tuple[float, ...]] = {
    Base.SGD: (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
    Base.ADAMW: (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
}
"""The range of learning rates, fixed beforehand; SGD has momentum 0.9."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A training task: data set, network and length.

    Args:
        name: Name in the table.
        dataset: Registered name of the data set.
        hidden: Widths of the hidden layers.
        bases: Optimizers that are perturbed.
        batch_size: Samples per step of a replica.
        epochs: Evaluations after the first; rounds of a federated task.
        tuning_epochs: Epochs of the runs that choose magnitudes.
        passes: Passes over the samples of a seed in an epoch.
        samples: Training samples of each seed, its own draw; None is all.
        clients: Copies that are averaged after every epoch; 1 is no federation.
        local_steps: Batches of a client in an epoch, drawn with replacement.
        unlike: The Dirichlet law's parameter; small is unlike.
        rates: Learning rates by optimizer.
    """

    name: str
    dataset: str
    hidden: tuple[int, ...] = (32, 32)
    bases: tuple[Base, ...] = tuple(Base)
    batch_size: int = 64
    epochs: int = 20
    tuning_epochs: int = 20
    passes: int = 1
    samples: int | None = None
    clients: int = 1
    local_steps: int = 0
    unlike: float = 0.3
    rates: Mapping[Base, tuple[float, ...]] = field(default_factory=lambda: HALF_DECADES)


DIGITS = Task(name="digits", dataset="digits")
MNIST = Task(name="mnist", dataset="mnist", batch_size=256, epochs=3, tuning_epochs=1)
FEW_SAMPLES = Task(
    name="digits, 100 samples",
    dataset="digits",
    bases=(Base.SGD,),
    batch_size=20,
    passes=4,
    samples=100,
)
FEDERATED = Task(
    name="digits, 10 clients",
    dataset="digits",
    bases=(Base.SGD,),
    batch_size=20,
    clients=10,
    local_steps=10,
)


def task_orders(task: Task, split: Split, seeds: Sequence[int]) -> Orders:
    """Make the function that lists the samples of an epoch for every replica."""
    if task.clients > 1:
        pools = [deal(split.labels, task, seed) for seed in seeds]
        return lambda epoch: torch.cat(
            [_client_rows(task, pool, seed, epoch) for pool, seed in zip(pools, seeds, strict=True)]
        )
    n = task.samples or split.n_samples
    chosen = torch.stack([_chosen(task, split, seed) for seed in seeds])  # (S, n)

    def orders(epoch: int) -> Tensor:
        first = epoch * task.passes
        passes = [epoch_orders(seeds, first + k, n) for k in range(task.passes)]
        return torch.cat([chosen.gather(1, order) for order in passes], dim=1)

    return orders


def _chosen(task: Task, split: Split, seed: int) -> Tensor:
    """The training samples of a seed, (n,)."""
    if task.samples is None:
        return torch.arange(split.n_samples)
    drawn = torch.randperm(split.n_samples, generator=stream(seed, "samples"))
    return drawn[: task.samples]


def deal(labels: Tensor, task: Task, seed: int) -> list[Tensor]:
    """Deal the samples of every class to the clients in Dirichlet shares.

    Returns:
        One index tensor per client, none of them empty, together all samples.
    """
    generator = SeedTree(seed).child("bench", "clients").generator()
    hands: list[list[np.ndarray]] = [[] for _ in range(task.clients)]
    for label in np.unique(labels.numpy()):
        rows = generator.permutation(np.flatnonzero(labels.numpy() == label))
        shares = generator.dirichlet(np.full(task.clients, task.unlike))
        cuts = (np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for hand, part in zip(hands, np.split(rows, cuts), strict=True):
            hand.append(part)
    dealt = [np.concatenate(hand) for hand in hands]
    for empty in (place for place, hand in enumerate(dealt) if not len(hand)):
        richest = int(np.argmax([len(hand) for hand in dealt]))
        dealt[empty], dealt[richest] = dealt[richest][:1], dealt[richest][1:]
    return [torch.from_numpy(hand) for hand in dealt]


def _client_rows(task: Task, pools: Sequence[Tensor], seed: int, epoch: int) -> Tensor:
    """Rows of every client of a seed in one round, (C, local steps * batch)."""
    generator, count = stream(seed, "order", epoch), task.local_steps * task.batch_size
    drawn = [pool[torch.randint(len(pool), (count,), generator=generator)] for pool in pools]
    return torch.stack(drawn)


def average_clients(model: ReplicaMLP, clients: int) -> None:
    """Give every client of a seed the mean of their weights, in place (FedAvg, equal weights)."""
    for parameter in model.parameters():
        by_seed = parameter.view(-1, clients, *parameter.shape[1:])  # (S, C, ...)
        by_seed.copy_(by_seed.mean(dim=1, keepdim=True).expand_as(by_seed))


def noise_seeds(task: Task, seeds: Sequence[int]) -> list[int]:
    """A seed of noise for every replica: clients of one seed are perturbed differently."""
    return [seed * task.clients + client for seed in seeds for client in range(task.clients)]
