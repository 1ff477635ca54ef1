"""A model whose components have known contributions, trained for many seeds at once.

Binary labels come from a random teacher that reads three signals: x (trunk), u and v.

    h = relu(W x)            trunk, never ablated
    useless                  the hidden units in another order, fixed at random: by symmetry its
                             contribution is exactly zero, yet every run changes
    useful                   the only branch that sees u
    twin a, twin b           two branches that both see v: one stands in for the other
    harmful                  a branch that sees s, which equals the label plus noise in training
                             and is noise alone afterwards: learning it costs accuracy

Each seed has data, teacher, initial weights and batch order of its own; all configurations of a
seed share them, an ablated branch is absent and every other parameter starts the same. Training is
ordinary minibatch SGD with momentum; R seeds are R slices of batched matrix products.

Shapes: R seeds, N samples, B batch, D inputs of one signal, H hidden units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

from antifragile.config.seeds import SeedTree

USEFUL, USELESS, HARMFUL, TWIN_A, TWIN_B = "useful", "useless", "harmful", "twin a", "twin b"
COMPONENTS = (USEFUL, USELESS, HARMFUL, TWIN_A, TWIN_B)
MIXERS = tuple(f"mixer {i}" for i in range(1, 6))
SIGNALS = ("x", "u", "v", "s")
READS = {"trunk": "x", USEFUL: "u", TWIN_A: "v", TWIN_B: "v", HARMFUL: "s"}
D, H, N_TRAIN, N_TEST, BATCH, EPOCHS, RATE = 6, 12, 192, 1024, 48, 16, 0.2
CHUNK = 125  # seeds trained at once

Configuration = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Everything random about R seeds.

    Args:
        train: Signal name to (R, N, D).
        test: Signals of the test split.
        train_labels: (R, N) of 0 and 1.
        test_labels: Labels of the test split.
        weights: Parameter name to (R, ...), before training.
        mixers: Per mixer (R, H) permutations.
        orders: (epochs, R, N) sample order.
    """

    train: dict[str, torch.Tensor]
    test: dict[str, torch.Tensor]
    train_labels: torch.Tensor
    test_labels: torch.Tensor
    weights: dict[str, torch.Tensor]
    mixers: dict[str, torch.Tensor]
    orders: torch.Tensor


def planted_values(
    configurations: Iterable[Configuration], seeds: Sequence[int], *, mixers: Sequence[str] = ()
) -> dict[tuple[Configuration, int], float]:
    """Test accuracy (percent) of every configuration and seed, by real training.

    Args:
        configurations: The components that are ablated in each run.
        seeds: Pairs.
        mixers: Useless layers in the trunk; default the one called ``useless``.
    """
    values, listed = {}, list(configurations)
    for start in range(0, len(seeds), CHUNK):
        part = list(seeds[start : start + CHUNK])
        batch = draw(part, mixers or (USELESS,))
        for configuration in listed:
            accuracy = train_and_test(batch, configuration)
            values |= {(configuration, s): a for s, a in zip(part, accuracy, strict=True)}
    return values


def draw(seeds: Sequence[int], mixers: Sequence[str]) -> Batch:
    """Data, teachers, initial weights and orders, each from a stream named by what it is for."""
    stacked = [_draw_one(SeedTree(seed).child("planted"), mixers) for seed in seeds]
    names = list(stacked[0])
    tensors = {n: torch.from_numpy(np.stack([one[n] for one in stacked])) for n in names}

    def part(head: str) -> dict[str, torch.Tensor]:
        return {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)}

    return Batch(
        train=part("train "),
        test=part("test "),
        train_labels=tensors["labels train"],
        test_labels=tensors["labels test"],
        weights=part("weight "),
        mixers=part("order of "),
        orders=tensors["orders"].transpose(0, 1).contiguous(),
    )


def _draw_one(tree: SeedTree, mixers: Sequence[str]) -> dict[str, np.ndarray]:
    rng, drawn = tree.child("data").generator(), {}
    teacher = {name: rng.normal(size=D) for name in "xuv"}
    for split, n in (("train", N_TRAIN), ("test", N_TEST)):
        signals = {name: rng.normal(size=(n, D)) for name in SIGNALS}
        strength = {"x": 1.0, "u": 0.5, "v": 1.0}
        logit = sum(strength[k] * signals[k] @ teacher[k] / D**0.5 for k in "xuv")
        labels = (logit + 0.5 * rng.normal(size=n) > 0).astype(np.float32)
        if split == "train":
            signals["s"][:, 0] += 0.8 * (2 * labels - 1)
        drawn |= {f"{split} {k}": v.astype(np.float32) for k, v in signals.items()}
        drawn[f"labels {split}"] = labels
    for name in READS:
        rng = tree.child("weights", name).generator()
        drawn[f"weight {name} in"] = (rng.normal(size=(D, H)) / D**0.5).astype(np.float32)
        drawn[f"weight {name} out"] = (rng.normal(size=(H, 1)) / H**0.5).astype(np.float32)
    for name in mixers:
        drawn[f"order of {name}"] = tree.child("mixer", name).generator().permutation(H)
    rng = tree.child("order").generator()
    drawn["orders"] = np.stack([rng.permutation(N_TRAIN) for _ in range(EPOCHS)])
    return drawn


def train_and_test(batch: Batch, ablated: Configuration) -> list[float]:
    """Train R networks without the ablated components and test each once."""
    weights = {
        name: start.clone().requires_grad_()
        for name, start in batch.weights.items()
        if name.rsplit(" ", 1)[0] not in ablated
    }
    optimizer = torch.optim.SGD(list(weights.values()), lr=RATE, momentum=0.9)
    rows = torch.arange(len(batch.train_labels))[:, None]
    for order in batch.orders:
        for chosen in order.split(BATCH, dim=1):  # (R, B)
            inputs = {name: signal[rows, chosen] for name, signal in batch.train.items()}
            logits = forward(weights, inputs, batch.mixers, ablated)
            loss = loss_of(logits, batch.train_labels[rows, chosen], reduction="none")
            optimizer.zero_grad()
            loss.mean(dim=1).sum().backward()  # R independent losses
            optimizer.step()
    with torch.no_grad():
        logits = forward(weights, batch.test, batch.mixers, ablated)
    correct = (logits > 0) == (batch.test_labels > 0)
    return [100 * float(share) for share in correct.double().mean(dim=1)]


def forward(
    weights: dict[str, torch.Tensor],
    inputs: dict[str, torch.Tensor],
    mixers: dict[str, torch.Tensor],
    ablated: Configuration,
) -> torch.Tensor:
    """Logits, (R, N), as the sum of the branches that are there."""
    total = torch.zeros(())
    for name, signal in READS.items():
        if name in ablated:
            continue
        hidden = torch.bmm(inputs[signal], weights[f"{name} in"]).relu()  # (R, N, H)
        out = weights[f"{name} out"]  # (R, H, 1)
        if name == "trunk":
            out = reordered(out, [mixers[m] for m in mixers if m not in ablated])
        total = total + torch.bmm(hidden, out)[..., 0]
    return total


def reordered(out: torch.Tensor, orders: Sequence[torch.Tensor]) -> torch.Tensor:
    """Output weights for hidden units that pass through these orders one after another.

    The same as reordering the (R, N, H) hidden units themselves, at an N-th of the cost.
    """
    if not orders:
        return out
    composed = orders[0]
    for order in orders[1:]:
        composed = composed.gather(1, order)  # (R, H)
    return torch.zeros_like(out).scatter(1, composed[..., None], out)
