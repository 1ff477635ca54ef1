"""Short runs of Lightning's Trainer on the digits; imported only where Lightning is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from antifragile.integrations.lightning import LightningFrustration
from tests.integrations.digits import N_TRAIN, images, network


class Digits(pl.LightningModule):
    """A network without a forward of the module's own: its part ``net`` is what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.rates: list[float] = []
        self.moments: list[int] = []

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        optimizer = self.optimizers().optimizer
        if number == 0:
            self.rates.append(optimizer.param_groups[0]["lr"])
            self.moments.append(len(optimizer.state))
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        scores = self.net(batch[0])
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())
        self.log("val_loss", nn.functional.cross_entropy(scores, batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 0.01, weight_decay=0.0)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]


def loaders(*, shuffle: bool = True, n_validation: int = 128) -> tuple[DataLoader, DataLoader]:
    x, y = images()
    train = TensorDataset(x[:N_TRAIN], y[:N_TRAIN])
    end = N_TRAIN + n_validation
    validation = TensorDataset(x[N_TRAIN:end], y[N_TRAIN:end])
    return DataLoader(train, 32, shuffle=shuffle), DataLoader(validation, 128)


def fresh_digits() -> Digits:
    return Digits()


def fit(
    frustration: LightningFrustration,
    *,
    epochs: int = 3,
    module: Any = None,
    callbacks: tuple[Any, ...] = (),
    resume: Path | None = None,
    shuffle: bool = True,
    **options: Any,
) -> pl.Trainer:
    """Train on the CPU from a fixed seed, without files and without words."""
    torch.manual_seed(1)
    has_checkpoints = any(isinstance(item, pl.callbacks.ModelCheckpoint) for item in callbacks)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=has_checkpoints,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[frustration, *callbacks],
        **options,
    )
    trainer.fit(Digits() if module is None else module, *loaders(shuffle=shuffle), ckpt_path=resume)
    return trainer


def weights(trainer: pl.Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.lightning_module.state_dict().items()}
