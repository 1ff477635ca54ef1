"""The built-in experiment: a classifier trained on one of our data sets.

AdamW with a cosine schedule, batches drawn by the order seed alone, the split of `data`. The images
are given the shape that the model's own inputs() have. Metrics: test accuracy (percent) and loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.loading import Refusal, stage
from antifragile.ablate.source.project import entry_function
from antifragile.ablate.trace.calls import read_call
from antifragile.config.seeds import SeedTree
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset

_EVALUATION_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """Options of the built-in experiment.

    Args:
        epochs: Passes over the training split.
        batch_size: Samples per step; the last short batch is kept.
        learning_rate: AdamW's at the start; it falls to zero along a cosine.
        weight_decay: AdamW's.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01


def trainer(
    experiment: dict[str, Any], project: Project, *, evaluates: bool
) -> Callable[..., dict[str, float]]:
    """The experiment as a function of ``(build_model or model, seed, data_order_seed, device)``."""
    data = load_dataset(experiment["dataset"], data_dir=Path(experiment["data_dir"]))
    options = TrainerOptions(**experiment["options"])
    shape = _shape(project)
    if math.prod(shape) != data.n_inputs:
        raise Refusal(
            f"the model takes inputs of shape {shape}, {math.prod(shape)} values; data "
            f"set {data.name} has {data.n_inputs} per sample"
        )
    return partial(_evaluate, data, shape) if evaluates else partial(_train, data, shape, options)


def _shape(project: Project) -> tuple[int, ...]:
    """The shape of one sample: that of the model's first input."""
    if project.inputs is None:
        raise Refusal("the built-in experiment needs the shape of a sample; give --inputs")
    source = f"{project.inputs.function}() of {project.inputs.file}"
    with stage(source):
        call = read_call(entry_function(project, project.inputs)(), source)
    if not call.args or not isinstance(call.args[0], torch.Tensor):
        raise Refusal(f"the built-in experiment calls model(images); {source} gives no such tensor")
    return tuple(call.args[0].shape[1:])


def _train(
    data: Dataset,
    shape: tuple[int, ...],
    options: TrainerOptions,
    build_model: Callable[[], torch.nn.Module],
    *,
    seed: int,
    data_order_seed: int,
    device: str,
) -> dict[str, float]:
    model = build_model().to(device)
    parameters = [p for p in model.parameters() if p.requires_grad]
    n = data.train.n_samples
    n_steps = options.epochs * -(-n // options.batch_size)
    optimizer = torch.optim.AdamW(
        parameters, lr=options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    order = SeedTree(data_order_seed).child("order")
    model.train()
    for epoch in range(options.epochs):
        shuffled = torch.from_numpy(order.generator(epoch).permutation(n))
        for chosen in torch.split(shuffled, options.batch_size):
            images = data.train.images[chosen].reshape(-1, *shape).to(device)
            loss = cross_entropy(model(images), data.train.labels[chosen].to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
    return _evaluate(data, shape, model, seed=seed, data_order_seed=data_order_seed, device=device)


@torch.no_grad()
def _evaluate(
    data: Dataset,
    shape: tuple[int, ...],
    model: torch.nn.Module,
    *,
    seed: int,
    data_order_seed: int,
    device: str,
) -> dict[str, float]:
    model.to(device).eval()
    split = data.test.to(device)
    correct = total = 0.0
    parts = (torch.split(part, _EVALUATION_BATCH) for part in (split.images, split.labels))
    for images, labels in zip(*parts, strict=True):
        logits = model(images.reshape(-1, *shape))
        if logits.shape != (len(labels), logits.shape[-1]):
            raise Refusal(f"the model must return (samples, classes); got {tuple(logits.shape)}")
        correct += float((logits.argmax(1) == labels).sum())
        total += float(cross_entropy(logits, labels, reduction="sum"))
    return {"accuracy": 100 * correct / split.n_samples, "loss": total / split.n_samples}
