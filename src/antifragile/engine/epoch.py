"""One epoch of training and one exact evaluation, in plain PyTorch.

Shape letters: B samples in a batch, N samples of a split, Nin inputs, W width, Nout classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from antifragile.config.seeds import SeedTree, TrialStreams, dropout_keep_mask
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Split
from antifragile.engine.perturbation import needs_closure, perturbed
from antifragile.engine.recycling.recycler import Recycler
from antifragile.model.networks import Dropout, LinearStack

_EVALUATION_BATCH = 1000  # activations of the widest networks stay near the cache


@contextmanager
def exact_numerics(threads: int = 1) -> Iterator[None]:
    """Fix the number of threads and flush denormals inside, restore the threads after.

    Matrix products may sum in another order with another number of threads, so the number
    belongs to the plan of a study. Denormal numbers in dead deep networks cost a factor of
    four to eight in time and nothing else; they are flushed to zero inside the trainer.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def epoch_order(order: SeedTree, meta_loop: int, n_samples: int) -> Tensor:
    """The epoch's order of the training samples: a permutation, (N,) int64."""
    return torch.from_numpy(order.generator(meta_loop).permutation(n_samples))


def keyed_dropout(
    stream: SeedTree, *, meta_loop: int, step: int, p: float, block_p: float = 0.0
) -> Dropout | None:
    """Dropout whose mask is a pure function of (stream, meta-loop, step, layer, sample, unit).

    Args:
        stream: The trial's dropout stream.
        meta_loop: 1-based.
        step: 0-based batch within the epoch.
        p: Drop probability.
        block_p: Drop probability inside residual blocks.
    """
    if p == block_p == 0:
        return None

    def apply(layer: int, hidden: Tensor, *, in_block: bool = False) -> Tensor:
        probability = block_p if in_block else p
        if probability == 0:
            return hidden
        samples, units = hidden.shape
        keep = dropout_keep_mask(
            stream,
            meta_loop=meta_loop,
            step=step,
            layer=layer,
            shape=(samples, units),
            p=probability,
        )
        mask = torch.from_numpy(keep).to(device=hidden.device, dtype=hidden.dtype)
        return hidden * mask * (1 / (1 - probability))  # (B, W)

    return apply


def fresh_adamw(model: LinearStack, spec: TrialSpec) -> torch.optim.Optimizer:
    """Make the trial's optimizer, without any memory."""
    options = spec.options
    return torch.optim.AdamW(
        model.parameters(),
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        weight_decay=spec.weight_decay,
    )


def train_epoch(
    model: LinearStack,
    train: Split,
    spec: TrialSpec,
    streams: TrialStreams,
    meta_loop: int,
    optimizer: torch.optim.Optimizer | None = None,
) -> float:
    """Train in place for one epoch with a fresh AdamW; return the mean loss over the samples.

    Where the trial's update equation is perturbed, the losses are those at the weights that the
    steps started from, perturbed or not, and the weights left behind are the clean ones.

    Args:
        model: The network.
        train: Its samples.
        spec: The trial.
        streams: Its random streams at this meta-loop.
        meta_loop: 1-based.
        optimizer: An optimizer of the model that goes on, instead of a fresh one.

    Source: PSA paper, sections II.D (step 3) and II.E (optimizer resets).
    """
    optimizer = fresh_adamw(model, spec) if optimizer is None else optimizer
    order = epoch_order(streams.order, meta_loop, train.n_samples).to(train.images.device)
    total = torch.zeros((), dtype=torch.float64, device=train.images.device)
    batches = torch.split(order, spec.training.batch_size)
    first_step = (meta_loop - 1) * len(batches)
    recycler = Recycler(spec, streams, model, optimizer, len(batches))
    with perturbed(optimizer, spec, streams, first_step=first_step, model=model):
        for step, rows in enumerate(batches):
            dropout = keyed_dropout(
                streams.dropout,
                meta_loop=meta_loop,
                step=step,
                p=spec.dropout,
                block_p=spec.block_dropout,
            )
            batch = Split(train.images[rows], train.labels[rows])
            loss = _one_step(model, optimizer, batch, dropout, needs_closure(spec.perturbations))
            total += loss * len(rows)
            recycler.after(first_step + step + 1, batch.images)
    return total.item() / train.n_samples


def _one_step(
    model: LinearStack,
    optimizer: torch.optim.Optimizer,
    batch: Split,
    dropout: Dropout | None,
    with_closure: bool,
) -> Tensor:
    """Do one update; return the loss (a scalar) at the weights before it."""
    losses: list[Tensor] = []

    def evaluate() -> Tensor:
        loss = cross_entropy(model(batch.images, dropout), batch.labels)  # logits (B, Nout)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        losses.append(loss.detach())
        return losses[-1]

    if with_closure:
        optimizer.step(evaluate)  # type: ignore[arg-type]  # torch's stub has closures of floats
    else:
        evaluate()
        optimizer.step()
    return losses[0]


@torch.no_grad()
def count_correct(model: LinearStack, split: Split) -> int:
    """Count samples whose own class has the (first) largest logit; NaN logits are wrong."""
    correct = 0
    images_by_batch = torch.split(split.images, _EVALUATION_BATCH)
    labels_by_batch = torch.split(split.labels, _EVALUATION_BATCH)
    for images, labels in zip(images_by_batch, labels_by_batch, strict=True):
        best, predicted = model(images).max(dim=1)  # both (B,)
        correct += int(((predicted == labels) & ~best.isnan()).sum())
    return correct
