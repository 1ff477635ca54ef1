"""Trainings of Hugging Face's Trainer in a fixed order; imported only where transformers is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer, TrainingArguments

from tests.integrations.digits import N_TRAIN, seeded_network
from tests.integrations.huggingface_runs import digits, language_model, text
from tests.integrations.perturbed import BATCH, Weights


class Digits(nn.Module):
    """The digits' network with the outputs that the Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        self.net = seeded_network()
        self.evaluated: list[Tensor] = []

    def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if not self.training:
            self.evaluated.append(torch.cat([p.detach().flatten() for p in self.parameters()]))
        logits = self.net(pixels)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


class InOrder(Trainer):
    """A Trainer whose batches come as they stand."""

    def _get_train_sampler(self, *_: object) -> Sampler:
        return SequentialSampler(self.train_dataset)


def train(
    folder: Path,
    *callbacks: Any,
    model: nn.Module | Callable[[], nn.Module] | None = None,
    rows: list[dict[str, Tensor]] | None = None,
    epochs: int = 2,
    resume: str | None = None,
    **options: Any,
) -> Trainer:
    """Train on the CPU, the batches in order, without words."""
    rows = digits() if rows is None else rows
    n_train = min(N_TRAIN, len(rows) - BATCH)
    settings = {
        "optim": "adamw_torch",
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "save_strategy": "no",
        **options,
    }
    torch.manual_seed(1)
    models = {"model": model or Digits()} if not isinstance(model, type) else {"model_init": model}
    trainer = InOrder(
        **models,
        args=TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=512,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            **settings,
        ),
        train_dataset=rows[:n_train],
        eval_dataset=rows[n_train:],
        callbacks=[callback for callback in callbacks if callback is not None],
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def train_text(folder: Path, *callbacks: Any) -> Trainer:
    return train(folder, *callbacks, model=language_model(), rows=text(), epochs=1)


def weights(trainer: Trainer) -> Weights:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}
