"""Short runs of Hugging Face's Trainer; imported only where transformers is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from antifragile.integrations.huggingface import HuggingFaceFrustration
from tests.integrations.digits import N_TRAIN, images, seeded_network

LENGTH, LETTERS = 16, 32


class Digits(nn.Module):
    """A convolutional network with the outputs that the Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        self.net = seeded_network()

    def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.net(pixels)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def language_model() -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=LETTERS,
                hidden_size=8,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=2,
                max_position_embeddings=LENGTH,
                tie_word_embeddings=False,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
            )
        )


def text() -> list[dict[str, Tensor]]:
    """Return 96 pieces of a module of Python's own library, its letters folded to a few."""
    source = (Path(os.__file__).parent / "argparse.py").read_bytes()
    pieces = [source[start : start + LENGTH] for start in range(0, 96 * LENGTH, LENGTH)]
    rows = [torch.tensor([byte % LETTERS for byte in piece]) for piece in pieces]
    return [{"input_ids": row, "labels": row} for row in rows]


def digits() -> list[dict[str, Tensor]]:
    return [{"pixels": x, "labels": y} for x, y in zip(*images(), strict=True)]


def count_right(prediction: Any) -> dict[str, float]:
    right = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(right.mean())}


class Watch(TrainerCallback):
    """Notes learning rates and the number of optimizer states at the start of every epoch."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.moments: list[int] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        optimizer = kwargs["optimizer"]
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.moments.append(len(optimizer.state))


def train(
    frustration: HuggingFaceFrustration | None,
    folder: Path,
    *,
    model: nn.Module | None = None,
    epochs: int = 3,
    resume: str | None = None,
    callbacks: tuple[Any, ...] = (),
    **options: Any,
) -> Trainer:
    """Train on the CPU from a fixed seed, without words; a language model by default."""
    is_text = not isinstance(model, Digits)
    rows, n_train = (text(), 64) if is_text else (digits(), N_TRAIN)
    settings = {
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "logging_strategy": "no",
        "learning_rate": 0.01,
        "lr_scheduler_type": "linear",
        **options,
    }
    trainer = Trainer(
        model=language_model() if model is None else model,
        args=TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=epochs,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=1,
            dataloader_pin_memory=False,
            remove_unused_columns=is_text,
            **settings,
        ),
        train_dataset=rows[:n_train],
        eval_dataset=rows[n_train:],
        compute_metrics=None if is_text else count_right,
        callbacks=[*([frustration] if frustration else []), *callbacks],
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}
