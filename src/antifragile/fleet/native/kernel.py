"""The compiled CPU kernel behind the `Kernel` interface.

A replica's arithmetic is done wholly by one thread and in an order that depends only on the
architecture, the data and the batch size. So its results are the same bits alone or in any group,
with any number of threads.

With bf16 products the images and, in the first layer and those of 32 inputs or more, weights,
activations and gradients are rounded to bfloat16 where a product reads them; all else is float32.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from antifragile.config.specs.training import TrainingOptions
from antifragile.data.splits import Dataset, Split
from antifragile.fleet.kernels import EpochJob, EpochOutcome, Group
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.native.library import NativeJob, NativeLibrary, stored_bf16

_LOOK_FOR_INTERRUPTS_S = 0.2
_NO_ORDER = torch.zeros(1, dtype=torch.int64)


class NativeKernel:
    """One architecture on one data set, on the CPU.

    Args:
        library: A loaded version of the compiled kernel.
        layout: Layout of the replicas.
        data: On the CPU; its images must have the dtype of the weights.
        threads: Number of groups that run at a time.
        bf16: Round the operands of large products to bfloat16; the weights are float32.
    """

    name = "native"

    def __init__(
        self,
        library: NativeLibrary,
        layout: FlatLayout,
        data: Dataset,
        *,
        threads: int,
        bf16: bool = False,
    ) -> None:
        self._operands = torch.bfloat16 if bf16 else data.train.images.dtype
        self.library, self.layout, self.data, self.threads = library, layout, data, threads
        self._sizes, self._adds = _int64(layout.sizes), _int64(layout.adds)
        self._validation = self._pack(data.validation)
        self._stop = np.zeros(1, dtype=np.int32)

    def run_epoch(self, job: EpochJob) -> EpochOutcome:
        """Train every replica for one epoch by AdamW, then count on validation."""
        return self._run(job, self.data.train, self._validation, self.data.validation.labels)

    def count_correct(self, weights: Tensor, split: Split) -> list[int]:
        """Count correct samples of a split for weights (R, P)."""
        is_validation = split is self.data.validation
        panels = self._validation if is_validation else self._pack(split)
        return self._run(_evaluation_only(weights), None, panels, split.labels).correct

    @cached_property
    def _images(self) -> Tensor:
        """The training images in the type of products; not needed for counting."""
        images = self.data.train.images
        return stored_bf16(images) if self._operands == torch.bfloat16 else images

    def _pack(self, split: Split) -> Tensor:
        return self.library.pack(split.images.to(self._operands))

    def _run(
        self, job: EpochJob, train: Split | None, panels: Tensor, labels: Tensor
    ) -> EpochOutcome:
        """Fill the C structure, call the kernel, and copy the results out."""
        weights, options = job.weights, job.options
        assert weights.dtype == self.data.train.images.dtype
        assert weights.is_contiguous()
        starts = _int64([group.start for group in job.groups] + [job.groups[-1].stop])
        orders = _uint64([group.order.data_ptr() for group in job.groups])
        rows = _uint64([row.data_ptr() for row in weights])
        decay, dropout = np.array(job.weight_decay), np.array(job.dropout)
        block_dropout = np.array(job.block_dropout or [0.0] * len(rows))
        keys, meta_loops = _uint64(job.dropout_keys), _int64(job.meta_loops)
        moments = job.moments or [None] * len(rows)
        first = _uint64([0 if row is None else row.first.data_ptr() for row in moments])
        second = _uint64([0 if row is None else row.second.data_ptr() for row in moments])
        steps = _int64([group.steps for group in job.groups])
        train_loss, correct = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        native = NativeJob(
            n_layers=len(self._sizes) - 1,
            sizes=self._sizes.ctypes.data,
            adds=self._adds.ctypes.data,
            images=self._images.data_ptr() if train else None,
            labels=train.labels.data_ptr() if train else None,
            n_train=train.n_samples if train else 0,
            evaluation=panels.data_ptr(),
            evaluation_labels=labels.data_ptr(),
            n_evaluation=len(labels),
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            beta1=options.beta1,
            beta2=options.beta2,
            epsilon=options.epsilon,
            n_groups=len(job.groups),
            group_start=starts.ctypes.data,
            orders=orders.ctypes.data,
            weights=rows.ctypes.data,
            weight_decay=decay.ctypes.data,
            dropout=dropout.ctypes.data,
            block_dropout=block_dropout.ctypes.data,
            dropout_key=keys.ctypes.data,
            meta_loop=meta_loops.ctypes.data,
            train_loss=train_loss.ctypes.data,
            correct=correct.ctypes.data,
            threads=self.threads,
            stop=self._stop.ctypes.data,
            first_moment=first.ctypes.data,
            second_moment=second.ctypes.data,
            steps=steps.ctypes.data,
        )
        self._call(native, self._operands)
        for row in moments:
            if row is not None and train is not None:
                row.steps += -(-train.n_samples // options.batch_size)
        return EpochOutcome(train_loss=train_loss.tolist(), correct=correct.tolist())

    def _call(self, native: NativeJob, dtype: torch.dtype) -> None:
        """Run the kernel in another thread, so that an interrupt in this one can stop it."""
        failures: list[BaseException] = []
        done = threading.Event()

        def run() -> None:
            try:
                self.library.run(native, dtype)
            except MemoryError as error:
                failures.append(error)
            finally:
                done.set()

        # Not Thread.join: when interrupted, it reports a running thread as finished (CPython
        # 3.11), and the kernel would write into freed buffers.
        self._stop[0] = 0
        threading.Thread(target=run, name="antifragile-native").start()
        try:
            while not done.wait(_LOOK_FOR_INTERRUPTS_S):
                pass
        except BaseException:
            self._stop[0] = 1
            while not done.is_set():
                with suppress(KeyboardInterrupt):  # the kernel stops within a batch
                    done.wait()
            raise
        if failures:
            raise failures[0]


def _evaluation_only(weights: Tensor) -> EpochJob:
    """Make a job that trains nothing, in groups small enough to spread over threads."""
    n = len(weights)
    return EpochJob(
        weights=weights,
        groups=[Group(start=i, stop=min(i + 6, n), order=_NO_ORDER) for i in range(0, n, 6)],
        options=TrainingOptions(),
        weight_decay=[0.0] * n,
        dropout=[0.0] * n,
        dropout_keys=[0] * n,
        meta_loops=[0] * n,
    )


def _int64(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _uint64(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)
