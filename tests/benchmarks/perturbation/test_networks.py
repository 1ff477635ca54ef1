"""Networks of many seeds: a replica is the run of its seed, and never meets the others."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Split
from benchmarks.perturbation.problems.tasks import FEDERATED, average_clients, deal, task_orders
from benchmarks.perturbation.training.loop import History, train
from benchmarks.perturbation.training.networks import (
    Initialisation,
    ReplicaMLP,
    batches,
    epoch_orders,
    evaluate,
    replica_loss,
)


def digits() -> Split:
    return load_dataset("digits").train


def trained(seeds: range, rate: float = 0.1) -> tuple[ReplicaMLP, History]:
    model, split = ReplicaMLP((64, 8, 10), seeds=seeds), digits()
    history = train(
        model,
        torch.optim.SGD(model.parameters(), lr=rate),
        split,
        partial(epoch_orders, seeds, n_samples=split.n_samples),
        epochs=2,
        batch_size=200,
        watch={"train": split},
    )
    return model, history


@pytest.mark.parametrize("how", Initialisation)
def test_a_replica_starts_as_its_seed_alone_does(how: Initialisation) -> None:
    pair = ReplicaMLP((6, 5, 3), seeds=[1, 2], initialisation=how)
    alone = ReplicaMLP((6, 5, 3), seeds=[2], initialisation=how)
    for both, one in zip(pair.parameters(), alone.parameters(), strict=True):
        assert torch.equal(both[1], one[0])
    assert [tuple(weight.shape) for weight in pair.weights] == [(2, 5, 6), (2, 3, 5)]


def test_the_network_is_the_stack_of_linear_layers_it_says() -> None:
    model = ReplicaMLP((6, 5, 3), seeds=[0])
    stack = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    state = [p[0] for pair in zip(model.weights, model.biases, strict=True) for p in pair]
    for parameter, value in zip(stack.parameters(), state, strict=True):
        parameter.data.copy_(value)
    images = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model(images[None])[0], stack(images), atol=1e-6)


def test_a_replica_trains_as_its_seed_alone_does() -> None:
    (pair, seen), (alone, seen_alone) = trained(range(3, 5)), trained(range(4, 5))
    for both, one in zip(pair.parameters(), alone.parameters(), strict=True):
        assert torch.allclose(both[1], one[0], atol=1e-6)
    assert np.allclose(seen.train_loss[:, 1], seen_alone.train_loss[:, 0], atol=1e-6)
    assert seen.gradient_evaluations == len(seen.train_loss) == 12


def test_a_replica_that_diverges_leaves_the_others_alone() -> None:
    split, seeds = digits(), range(2)
    model = ReplicaMLP((64, 8, 10), seeds=seeds)
    with torch.no_grad():
        model.weights[0][0].fill_(torch.nan)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    orders = partial(epoch_orders, seeds, n_samples=split.n_samples)
    history = train(
        model, optimizer, split, orders, epochs=1, batch_size=200, watch={"train": split}
    )
    assert np.isnan(history.loss["train"][:, 0]).all()
    assert np.isfinite(history.loss["train"][:, 1]).all()
    assert history.accuracy["train"][-1, 0] == 0.0


def test_training_ends_when_nothing_is_left_to_train() -> None:
    split, seeds = digits(), range(2)
    model = ReplicaMLP((64, 8, 10), seeds=seeds)
    with torch.no_grad():
        model.biases[0].fill_(torch.nan)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    orders = partial(epoch_orders, seeds, n_samples=split.n_samples)
    history = train(
        model, optimizer, split, orders, epochs=5, batch_size=200, watch={"train": split}
    )
    assert len(history.loss["train"]) == 2


def test_batches_follow_the_order_of_each_seed() -> None:
    split = digits()
    orders = epoch_orders([0, 1], 0, split.n_samples)
    assert orders.sort(dim=1).values.equal(torch.arange(split.n_samples).expand(2, -1))
    images, labels = next(batches(split, orders, 7))
    assert torch.equal(images[1], split.images[orders[1, :7]])
    assert torch.equal(labels[0], split.labels[orders[0, :7]])


def test_loss_and_accuracy_by_hand() -> None:
    logits = torch.tensor([[[9.0, 0.0], [9.0, 0.0]], [[0.0, 9.0], [9.0, 0.0]]])
    labels = torch.tensor([[0, 1], [0, 1]])
    losses = replica_loss(logits, labels)
    assert losses.tolist() == pytest.approx([4.5, 9.0], abs=1e-3)
    model, split = ReplicaMLP((64, 10), seeds=[0], initialisation=Initialisation.ZERO), digits()
    loss, accuracy = evaluate(model, split, 1)
    assert loss.item() == pytest.approx(np.log(10), abs=1e-6)
    assert accuracy.item() == pytest.approx(100 * (split.labels == 0).double().mean().item())


def test_dropout_acts_in_training_alone() -> None:
    model = ReplicaMLP((64, 8, 10), seeds=[0], dropout=0.5)
    images = digits().images[None, :5]
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_clients_get_all_samples_once_and_unlike_classes() -> None:
    labels = digits().labels
    hands = deal(labels, FEDERATED, seed=0)
    assert len(hands) == 10
    assert torch.cat(hands).sort().values.equal(torch.arange(len(labels)))
    shares = np.array([np.bincount(labels[hand], minlength=10) / len(hand) for hand in hands])
    everybody = np.bincount(labels) / len(labels)
    assert np.abs(shares - everybody).sum(axis=1).mean() / 2 > 0.3  # total variation


def test_rounds_average_the_clients_of_a_seed_and_nobody_else() -> None:
    model = ReplicaMLP((3, 2), seeds=[0, 1, 2, 3])
    before = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        average_clients(model, 2)
    for was, now in zip(before, model.parameters(), strict=True):
        assert torch.allclose(now[0], (was[0] + was[1]) / 2)
        assert torch.equal(now[0], now[1])
        assert not torch.equal(now[1], now[2])


def test_a_client_sees_its_own_samples_alone() -> None:
    split = digits()
    rows = task_orders(FEDERATED, split, [0])(3)
    hands = deal(split.labels, FEDERATED, seed=0)
    assert rows.shape == (10, FEDERATED.local_steps * FEDERATED.batch_size)
    for seen, hand in zip(rows, hands, strict=True):
        assert set(seen.tolist()) <= set(hand.tolist())
