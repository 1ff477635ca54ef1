"""LightningModules and fits with a perturbed optimizer; imported only where Lightning is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from tests.integrations.digits import seeded_network
from tests.integrations.lightning_runs import loaders
from tests.integrations.perturbed import BATCH, Weights, adamw


class Resumable(DataLoader):
    """A loader that goes on with the batch after the last one, as torchdata's stateful one does."""

    position, skipped = 0, 0

    def __iter__(self) -> Any:
        skipped, self.skipped = self.skipped, 0
        for number, batch in enumerate(super().__iter__()):
            if number >= skipped:
                self.position = number + 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.skipped = state["position"] % len(self)


class Parts(pl.LightningModule):
    """A module without a forward, whose part ``net`` is called."""

    def __init__(self, *, schedules: bool = False) -> None:
        super().__init__()
        self.net = seeded_network()
        self.schedules = schedules
        self.validated: list[Tensor] = []

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        return cross_entropy(self.scores(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        scores = self.scores(batch[0])
        self.log("val_loss", cross_entropy(scores, batch[1]))
        self.validated.append(torch.cat([p.detach().flatten() for p in self.parameters()]))

    def scores(self, x: Tensor) -> Tensor:
        return self.net(x)

    def configure_optimizers(self) -> Any:
        optimizer = adamw(self.parameters())
        if not self.schedules:
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]


class Whole(Parts):
    """A module with a forward, which is called."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def scores(self, x: Tensor) -> Tensor:
        return self(x)


class Halves(Parts):
    """A module whose two parts are called one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = self.net[:3], self.net[3:]
        del self.net

    def scores(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Listed(Parts):
    """A module whose layers are in a list and called one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(self.net)
        del self.net

    def scores(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Manual(Parts):
    """A module that steps by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], number: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(cross_entropy(self.scores(batch[0]), batch[1]))
        optimizer.step()


def fit(
    *callbacks: Any,
    module: pl.LightningModule | None = None,
    epochs: int = 2,
    resume: Path | None = None,
    trainer: pl.Trainer | None = None,
    **options: Any,
) -> pl.Trainer:
    """Train on the CPU, the batches in order, without words."""
    torch.manual_seed(1)
    saves = any(isinstance(item, pl.callbacks.ModelCheckpoint) for item in callbacks)
    if trainer is None:
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=saves,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=list(callbacks),
            **options,
        )
    module = Parts() if module is None else module
    train, validation = loaders(shuffle=False)
    trainer.fit(module, Resumable(train.dataset, BATCH), validation, ckpt_path=resume)
    return trainer


def weights(module: Any) -> Weights:
    module = getattr(module, "lightning_module", module)
    return {name: value.clone() for name, value in module.state_dict().items()}
