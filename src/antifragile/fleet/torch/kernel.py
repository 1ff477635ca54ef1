"""The batched PyTorch kernel: any architecture, data set and device.

    flat buffers (R, P): weights, gradients; one fused AdamW over all of them
    first layer: one product per group, its replicas side by side
    trunk: one batched product per layer over all replicas
    on CUDA a whole step is one recording, replayed batch after batch (`recorded_step`)

Groups and replicas are padded to the plan's fixed numbers, so the shapes of all products, and
with them the last bits of the results, do not depend on which trials are missing or finished.

Shape letters: G groups, M replicas of a group, R = G * M slots, B samples in a batch, d inputs,
C classes, P parameters, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from antifragile.data.splits import Dataset, Split
from antifragile.engine.epoch import exact_numerics
from antifragile.fleet.kernels import EpochJob, EpochOutcome, Group
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.torch.dropout import batched_dropout
from antifragile.fleet.torch.memory import BlockMemory
from antifragile.fleet.torch.passes import backward, forward
from antifragile.fleet.torch.recorded_step import RecordedStep
from antifragile.fleet.torch.updates import FlatAdamW, PerturbedAdamW, Update

_EVALUATION_BATCH = 1000


class TorchKernel:
    """One architecture on one data set, on the data's device.

    Args:
        layout: Layout of the replicas.
        data: Its images must have the dtype of the weights.
        groups: G, number of groups that run at once.
        members: M, replicas that a group is padded to.
        threads: Threads of torch on the CPU; results can depend on it in the last bits.
        compute_dtype: Type of products; by default the weights', or bfloat16 for float32 weights.
    """

    name = "torch"

    def __init__(
        self,
        layout: FlatLayout,
        data: Dataset,
        *,
        groups: int,
        members: int,
        threads: int,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        self.layout, self.data = layout, data
        self.groups, self.members, self.threads = groups, members, threads
        self.compute_dtype = compute_dtype or data.train.images.dtype

    def run_epoch(self, job: EpochJob) -> EpochOutcome:
        """Train every replica for one epoch by AdamW, then count on validation."""
        losses: list[float] = [0.0] * len(job.weights)
        correct: list[int] = [0] * len(job.weights)
        with torch.no_grad(), self._numerics():
            for groups in self._blocks(job):
                block = _Block(job, groups, self)
                block_losses = block.train(self.data.train)
                counts = self._count(block.weights, self.data.validation)
                for slot, replica in block.owners:
                    job.weights[replica].copy_(block.weights[slot])
                    losses[replica], correct[replica] = float(block_losses[slot]), counts[slot]
                block.remember()
        return EpochOutcome(train_loss=losses, correct=correct)

    def _blocks(self, job: EpochJob) -> list[list[Group]]:
        """Return the groups that train at once: each has its own place, all one step number."""
        blocks: dict[tuple[int, int, int], list[Group]] = {}
        for group in job.groups:
            key = group.place // self.groups, job.meta_loops[group.start], group.steps
            blocks.setdefault(key, []).append(group)
        return [blocks[key] for key in sorted(blocks)]

    def count_correct(self, weights: Tensor, split: Split) -> list[int]:
        """Count correct samples of a split for weights (R, P)."""
        with torch.no_grad(), self._numerics():
            return [self._count(row[None], split)[0] for row in weights]  # the same shape for all

    def _count(self, weights: Tensor, split: Split) -> list[int]:
        correct = torch.zeros(len(weights), dtype=torch.int64, device=weights.device)
        shaped = weights.to(self.compute_dtype)
        batches = zip(
            torch.split(split.images, _EVALUATION_BATCH),
            torch.split(split.labels, _EVALUATION_BATCH),
            strict=True,
        )
        for images, labels in batches:
            groups = -(-len(weights) // self.members)
            x = images.to(self.compute_dtype)[None].expand(groups, *images.shape)  # (G, B, d)
            activations = forward(self.layout.parameters(shaped), x, self.layout.adds, {})
            logits = activations[-1]  # (R, B, C)
            best, predicted = logits.max(dim=2)
            correct += ((predicted == labels) & ~best.isnan()).sum(dim=1)
        return [int(count) for count in correct.cpu()]

    def _numerics(self) -> AbstractContextManager[None]:
        on_cpu = self.data.train.images.device.type == "cpu"
        return exact_numerics(self.threads) if on_cpu else nullcontext()


class _Block:
    """The groups of a study that train at once, every group and replica at its fixed position.

    Products over many matrices may round differently by position, so positions are fixed, and
    missing or finished replicas are replaced by copies of others whose results are ignored:
    ``owners`` has (slot, replica) of every slot that is not such padding.
    """

    def __init__(self, job: EpochJob, groups: Sequence[Group], kernel: TorchKernel) -> None:
        self.kernel, self.job = kernel, job
        present = {group.place % kernel.groups: group for group in groups}
        any_group = next(iter(present.values()))
        chosen = [present.get(place, any_group) for place in range(kernel.groups)]
        self.replicas = [
            group.members.get(slot, group.start)
            for group in chosen
            for slot in range(kernel.members)
        ]
        self.owners = [
            (place * kernel.members + slot, replica)
            for place, group in present.items()
            for slot, replica in group.members.items()
        ]
        self.weights = job.weights[self.replicas]  # (R, P)
        self.memory = BlockMemory.of(job, self.replicas, steps=any_group.steps)
        device = self.weights.device
        self.orders = torch.stack([group.order for group in chosen]).to(device)  # (G, N)
        self.dropout = batched_dropout(job, kernel.layout, self.replicas)
        self.keep = torch.tensor(
            [
                1 - job.options.learning_rate * job.weight_decay[replica]
                for replica in self.replicas
            ],
            dtype=torch.float64,
            device="cpu",
        ).to(device, self.weights.dtype)[:, None]  # (R, 1)

    def train(self, train: Split) -> Tensor:
        """Train one epoch in place; return the mean loss of each slot, (R,) float64."""
        batches = torch.split(self.orders, self.job.options.batch_size, dim=1)
        update = self._update(n_steps=len(batches))
        if self.memory is not None:
            self.memory.give(update)
        total = torch.zeros(len(self.weights), dtype=torch.float64).to(self.weights.device)

        def step(rows: Tensor) -> None:
            total.add_(self._gradient(update, train, rows) * rows.shape[1])
            update.step()

        # Noise is made from host values, which a recording cannot hold.
        run = step if self.job.perturbations else RecordedStep(step, batches[0])
        for number, rows in enumerate(batches):
            for dropout in dict.fromkeys(self.dropout.values()):
                dropout.begin(number)
            run(rows)
        if self.memory is not None:
            self.memory.take(update)
        update.finish()
        return total / train.n_samples

    def remember(self) -> None:
        """Give the optimizer's memory back to the replicas that keep it."""
        if self.memory is not None:
            self.memory.give_back(self.owners)

    def _update(self, *, n_steps: int) -> Update:
        """Make an AdamW over the block's weights, perturbed or not."""
        job, layout = self.job, self.kernel.layout
        if not job.perturbations:
            return FlatAdamW(layout, self.weights, job.options, self.keep)
        return PerturbedAdamW(
            layout,
            self.weights,
            job.options,
            self.keep,
            perturbations=job.perturbations,
            keys=[job.perturbation_keys[replica] for replica in self.replicas],
            first_step=(job.meta_loops[self.replicas[0]] - 1) * n_steps,
        )

    def _gradient(self, update: Update, train: Split, rows: Tensor) -> Tensor:
        """Fill the update's gradients from one batch; return the mean losses (R,)."""
        dtype = self.kernel.compute_dtype
        parameters = update.parameters(update.weights.to(dtype))
        chosen = train.images.index_select(0, rows.flatten())  # twice as fast as images[rows]
        x = chosen.view(*rows.shape, -1).to(dtype)  # (G, B, d)
        labels = train.labels[rows].repeat_interleave(self.kernel.members, dim=0)[..., None]
        adds = self.kernel.layout.adds
        activations = forward(parameters, x, adds, self.dropout)
        logits = activations[-1].to(update.weights.dtype)  # (R, B, C)
        log_p = torch.log_softmax(logits, dim=2)
        losses = -log_p.gather(2, labels)[..., 0].mean(dim=1)
        gradient = log_p.exp_()
        gradient.scatter_add_(2, labels, torch.full_like(log_p[..., :1], -1))
        gradient.div_(rows.shape[1])
        out = update.parameters(update.gradients)
        backward(parameters, x, activations, gradient.to(dtype), out, adds, self.dropout)
        return losses.double()
