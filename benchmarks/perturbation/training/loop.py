"""One training loop for every experiment on networks: R seeds, any optimizer, any perturbation.

The loop is the one a user writes; that a handle of `antifragile.perturb` is attached shows only
in `handle.clean()` around the evaluations. Exact `sam` and `asam` take a closure and pay two
gradient evaluations a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from antifragile.data.splits import Split
from benchmarks.perturbation.training.networks import ReplicaMLP, batches, evaluate, replica_loss

Orders = Callable[[int], Tensor]
"""Epoch (0-based) -> which samples each replica sees in it, and in which order: (R, n) int64."""
Clean = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Losses and accuracies of R runs that trained together, and their cost.

    Args:
        train_loss: (steps, R) losses of single batches, as the optimizer saw them.
        loss: Split name to (evaluations, R) losses, before any step and after every epoch.
        accuracy: Split name to (evaluations, R) accuracies in percent.
        gradient_evaluations: Count for one run.
        seconds: Processor seconds of all runs together, evaluations not counted.
    """

    train_loss: np.ndarray
    loss: Mapping[str, np.ndarray]
    accuracy: Mapping[str, np.ndarray]
    gradient_evaluations: int
    seconds: float


def train(
    model: ReplicaMLP,
    optimizer: torch.optim.Optimizer,
    split: Split,
    orders: Orders,
    *,
    epochs: int,
    batch_size: int,
    watch: Mapping[str, Split],
    clean: Clean = nullcontext,
    closure: bool = False,
    clip: float | None = None,
    after_epoch: Callable[[ReplicaMLP], None] = lambda model: None,
) -> History:
    """Train R runs together and evaluate their clean weights before, and after every epoch.

    Training ends early when the loss of every run is no number any more.

    Args:
        model: The R replicas; trained in place.
        optimizer: Updates its parameters, perturbed or not.
        split: The training samples.
        orders: Lists the samples of an epoch, in their order.
        epochs: Number of epochs.
        batch_size: B.
        watch: Splits to evaluate, by name.
        clean: A context in which the weights are clean, such as ``handle.clean``.
        closure: The optimizer evaluates the gradient itself.
        clip: The largest gradient norm of a run; longer gradients are shortened to it.
        after_epoch: Called with the model and its clean weights, which it may change in place.
    """
    assert not (closure and clip), "the closure's gradients are not ours to clip"
    seconds, losses, seen = 0.0, [], [_look(model, watch, clean)]
    for epoch in range(epochs):
        started = time.process_time()
        pairs = batches(split, orders(epoch), batch_size)
        losses += list(_steps(model, optimizer, pairs, closure=closure, clip=clip))
        with clean(), torch.no_grad():
            after_epoch(model)
        seconds += time.process_time() - started
        seen.append(_look(model, watch, clean))
        if not bool(losses[-1].isfinite().any()):  # nothing left to train
            break
    return History(
        train_loss=torch.stack(losses).double().numpy(),
        loss={name: torch.stack([look[name][0] for look in seen]).numpy() for name in watch},
        accuracy={name: torch.stack([look[name][1] for look in seen]).numpy() for name in watch},
        gradient_evaluations=len(losses) * (2 if closure else 1),
        seconds=seconds,
    )


def _steps(
    model: ReplicaMLP,
    optimizer: torch.optim.Optimizer,
    pairs: Iterator[tuple[Tensor, Tensor]],
    *,
    closure: bool,
    clip: float | None,
) -> Iterator[Tensor]:
    for images, labels in pairs:
        seen: list[Tensor] = []

        def evaluated(
            images: Tensor = images, labels: Tensor = labels, seen: list[Tensor] = seen
        ) -> float:
            losses = replica_loss(model(images), labels)  # (R,)
            optimizer.zero_grad()
            torch.autograd.backward(losses.sum())
            seen.append(losses.detach())
            return float(losses.detach().sum())

        if closure:
            optimizer.step(evaluated)
        else:
            evaluated()
            if clip is not None:
                clip_gradients(model, clip)
            optimizer.step()
        yield seen[0]


@torch.no_grad()
def clip_gradients(model: ReplicaMLP, longest: float) -> None:
    """Shorten the gradient of each replica to a norm, in place, where it is longer."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    squares = [g.flatten(1).square().sum(dim=1) for g in gradients]
    norms = torch.stack(squares).sum(dim=0).sqrt()  # (R,)
    shares = (longest / norms).clamp(max=1.0)
    if bool((shares < 1).any()):
        for gradient in gradients:
            gradient.mul_(shares.view(-1, *[1] * (gradient.ndim - 1)))


def _look(
    model: ReplicaMLP, watch: Mapping[str, Split], clean: Clean
) -> dict[str, tuple[Tensor, Tensor]]:
    with clean():
        return {name: evaluate(model, split, model.replicas) for name, split in watch.items()}
