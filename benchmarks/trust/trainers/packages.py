"""Trainers of other packages around a perturbed optimizer; the twin is the loop by hand."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, SequentialSampler, TensorDataset

from antifragile.optim import perturb
from benchmarks.trust.trainers.loops import (
    EXACT,
    RATE,
    SEED,
    STEPS,
    Case,
    Loop,
    Pair,
    batch,
    network,
    rules_of,
    sgd,
    weights,
)


def samples() -> TensorDataset:
    """All batches as one data set."""
    x, y = zip(*(batch(number) for number in range(STEPS)), strict=True)
    return TensorDataset(torch.cat(x), torch.cat(y))


def lightning(preset: str, *, is_automatic: bool = True) -> Pair:
    """Train by Lightning's Trainer and our callback."""
    import lightning.pytorch as pl

    from antifragile.integrations.lightning import Perturb

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()
            self.automatic_optimization = is_automatic

        def training_step(self, rows: Any, number: int) -> Tensor:
            loss = cross_entropy(self.net(rows[0]), rows[1])
            if not is_automatic:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers and logging
        module = Module()
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Perturb(rules_of(preset), seed=SEED)],
        )
        trainer.fit(module, DataLoader(samples(), 16))
    return weights(module), Loop(preset).train()


def lightning_manual(preset: str) -> Pair:
    """Train by Lightning's manual optimisation and our callback."""
    return lightning(preset, is_automatic=False)


class _Rows(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 16 * STEPS

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        x, y = samples()[number]
        return {"x": x, "labels": y}


class _WithLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        scores = self.net(x)
        return {"loss": cross_entropy(scores, labels), "logits": scores}


def huggingface(preset: str) -> Pair:
    """Train by Hugging Face's Trainer and our callback."""
    from transformers import Trainer, TrainingArguments

    from antifragile.integrations.huggingface import Perturb

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: object) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    model, rules = _WithLoss(), Perturb(rules_of(preset), seed=SEED)
    optimizer = sgd(model)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            str(Path(folder)),
            num_train_epochs=1,
            per_device_train_batch_size=16,
            max_grad_norm=0.0,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
        )
        steady = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
        InOrder(
            model=model,
            args=arguments,
            train_dataset=_Rows(),
            optimizers=(optimizer, steady),
            callbacks=[rules],
        ).train()
    return weights(model), Loop(preset).train()


def accelerate(preset: str) -> Pair:
    """Train by a loop with Accelerate; exact SAM by a closure."""
    from accelerate import Accelerator

    accelerator, net = Accelerator(cpu=True), network()
    optimizer = sgd(net)
    perturb(optimizer, rules_of(preset), model=net, seed=SEED)
    model, optimizer, loader = accelerator.prepare(net, optimizer, DataLoader(samples(), 16))
    for x, y in loader:

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            accelerator.backward(loss)
            return loss

        if preset in EXACT:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    return weights(net), Loop(preset).train()


def skorch(preset: str) -> Pair:
    """Train by skorch and the callback that the documentation shows."""
    import skorch as package

    class Perturb(package.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, net: Any, **data: Any) -> None:
            self.handle = perturb(net.optimizer_, rules_of(preset), model=net.module_, seed=SEED)

        def on_train_end(self, net: Any, **data: Any) -> None:
            self.handle.remove()

    net = package.NeuralNetClassifier(
        network(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=RATE,
        batch_size=16,
        max_epochs=1,
        train_split=None,
        verbose=0,
        callbacks=[Perturb()],
    )
    x, y = samples().tensors
    net.fit(x, y)
    return weights(net.module_), Loop(preset).train()


CASES: dict[str, tuple[str, Case]] = {
    "Lightning automatic": ("lightning", lightning),
    "Lightning manual": ("lightning", lightning_manual),
    "HF Trainer": ("transformers", huggingface),
    "Accelerate": ("accelerate", accelerate),
    "skorch": ("skorch", skorch),
}
"""Columns of the table with the package that each needs."""
