"""Section of docs/beyond.md: the engine in three trainers, on a CNN and a transformer.

    python -m benchmarks.beyond.trainers --data-dir DATA

A plain loop, Lightning's Trainer and Hugging Face's train the CNN on MNIST and the transformer on
Python's own library, in all six modes. Each is a training script as anybody would write it; what
PSA adds or changes are the lines that end in ``# PSA``, and these are counted. Then one run of each
is killed (``kill -9``) after its second epoch and started again, and must end as one that was not.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from antifragile.config.modes import PAPER_MODES
from antifragile.data.datasets import load_dataset
from benchmarks.beyond.own_models import SmallTransformer, digit_sets, small_cnn, text_sets
from benchmarks.section import write_section

HEADING = "In three trainers"
MODELS = ("CNN", "transformer")
EPOCHS, RATE = 4, 1e-3


class Setting(NamedTuple):
    """Model and data of a run, its mode and the folder of its files."""

    model: nn.Module
    train: TensorDataset
    held: TensorDataset
    mode: str
    folder: Path


class Result(NamedTuple):
    """Score of every epoch, units that were hit, and the share of the time the engine took."""

    scores: list[float]
    ablated: list[list[str]]
    own: float


def loss_of(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    """Mean cross entropy of classes, or of the letters of all positions, in nats."""
    logits, targets = model(batch[0]), batch[1]
    return cross_entropy(logits.flatten(0, -2), targets.flatten())


def tell(record: Any) -> None:
    """Say that an epoch is over, for the process that may kill this one."""
    print("epoch", record.meta_loop, flush=True)


def plain(setting: Setting) -> list[Any]:
    """Train by a loop of one's own."""
    from antifragile import FrustrationEngine  # PSA

    model, file = setting.model, setting.folder / "engine.safetensors"
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    loader, held = DataLoader(setting.train, 64, shuffle=True), DataLoader(setting.held, 500)

    def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model.train()
        for batch in loader:
            optimizer.zero_grad()
            torch.autograd.backward(loss_of(model, batch))
            optimizer.step()

    @torch.no_grad()
    def validate(model: nn.Module) -> float:
        model.eval()
        return sum(float(loss_of(model, batch)) for batch in held) / len(held)

    engine = FrustrationEngine(  # PSA
        model, train_epoch, validate, mode=setting.mode, minimize=True, optimizer=optimizer
    )
    if file.exists():
        engine = FrustrationEngine.resume(file, model, train_epoch, validate, optimizer=optimizer)
    records = []
    for record in engine.run(EPOCHS):  # PSA
        records.append(record)
        engine.save(file)
        tell(record)
    engine.best()  # PSA
    return records


def lightning(setting: Setting) -> list[Any]:
    """Train by Lightning's Trainer."""
    import lightning.pytorch as pl

    from antifragile.integrations.lightning import LightningFrustration  # PSA

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = setting.model

        def training_step(self, batch: list[Tensor], number: int) -> Tensor:
            return loss_of(self.net, batch)

        def validation_step(self, batch: list[Tensor], number: int) -> None:
            self.log("val_loss", loss_of(self.net, batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), RATE)

    class Tell(pl.Callback):  # type: ignore[misc]
        def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            if frustration.records:
                tell(frustration.records[-1])

    frustration = LightningFrustration("val_loss", minimize=True, mode=setting.mode)  # PSA
    saving = pl.callbacks.ModelCheckpoint(setting.folder, save_last=True)
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[saving, frustration, Tell()],  # PSA
    )
    last = setting.folder / "last.ckpt"
    trainer.fit(
        Module(),
        DataLoader(setting.train, 64, shuffle=False),
        DataLoader(setting.held, 500),
        ckpt_path=last if last.exists() else None,
    )
    return list(frustration.records)


def huggingface(setting: Setting) -> list[Any]:
    """Train by Hugging Face's Trainer."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from antifragile.integrations.huggingface import HuggingFaceFrustration  # PSA

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = setting.model

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(inputs)
            return {"loss": loss_of(lambda _: logits, (inputs, labels)), "logits": logits}  # type: ignore[arg-type]

    class Tell(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if frustration.records:
                tell(frustration.records[-1])

    def rows(data: TensorDataset) -> list[dict[str, Tensor]]:
        return [{"inputs": x, "labels": y} for x, y in data]

    frustration = HuggingFaceFrustration("eval_loss", minimize=True, mode=setting.mode)  # PSA
    trainer = Trainer(
        model=WithLoss(),
        args=TrainingArguments(
            output_dir=str(setting.folder),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=64,
            per_device_eval_batch_size=500,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            eval_strategy="epoch",
            save_strategy="epoch",
            prediction_loss_only=True,
            remove_unused_columns=False,
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            use_cpu=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=rows(setting.train),
        eval_dataset=rows(setting.held),
        callbacks=[frustration, Tell()],  # PSA
    )
    trainer.train(resume_from_checkpoint=any(setting.folder.glob("checkpoint-*")))
    return list(frustration.records)


TRAINERS: dict[str, Callable[[Setting], list[Any]]] = {
    "plain loop": plain,
    "Lightning": lightning,
    "Hugging Face": huggingface,
}


def run_here(trainer: str, model: str, mode: str, folder: Path, data_dir: str | None) -> Result:
    """Train in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    is_text = model != "CNN"
    built = SmallTransformer() if is_text else small_cnn()
    train, held = text_sets() if is_text else digit_sets(load_dataset("mnist", data_dir=data_dir))
    setting = Setting(built, TensorDataset(*train), TensorDataset(*held), mode, folder)
    records = TRAINERS[trainer](setting)
    return Result(
        [record.score for record in records],
        [list(record.ablated) for record in records],
        sum(record.own_seconds for record in records) / sum(record.seconds for record in records),
    )


def run(
    trainer: str, model: str, mode: str, data_dir: str | None, *, killed_after: int | None = None
) -> Result:
    """Train in a process of its own; kill it after an epoch and start another one, if asked."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.beyond.trainers", "--data-dir", data_dir or ""]
        command += ["--one", json.dumps([trainer, model, mode, folder])]
        if killed_after is not None:
            child = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert child.stdout is not None
            next(line for line in child.stdout if line == f"epoch {killed_after}\n")
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        lines = [line for line in done.stdout.splitlines() if line.startswith("result ")]
        return Result(*json.loads(lines[-1].removeprefix("result ")))


def changed_lines(trainer: str) -> int:
    """Lines of a trainer's script that PSA adds or changes."""
    return inspect.getsource(TRAINERS[trainer]).count("# PSA")


def main() -> None:
    """Run everything and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("docs/beyond.md"))
    options = parser.parse_args()
    data_dir = options.data_dir or None
    if options.one:
        trainer, model, mode, folder = json.loads(options.one)
        print("result", json.dumps(run_here(trainer, model, mode, Path(folder), data_dir)))
        return
    lines = [
        "| model | trainer | changed lines | "
        + " | ".join(PAPER_MODES)
        + " | engine's share (hidden) | killed and resumed |",
        "|---" * (len(PAPER_MODES) + 5) + "|",
    ]
    for model in MODELS:
        for trainer in TRAINERS:
            results = {mode: run(trainer, model, mode, data_dir) for mode in PAPER_MODES}
            again = run(trainer, model, "hidden", data_dir, killed_after=2)
            whole = results["hidden"]
            rest = len(again.scores)  # the loop's own script keeps no records of before
            same = again.scores == whole.scores[-rest:] and again.ablated == whole.ablated[-rest:]
            scores = " | ".join(f"{min(result.scores):.4f}" for result in results.values())
            lines.append(
                f"| {model} | {trainer} | {changed_lines(trainer)} | {scores} | {whole.own:.1%} "
                f"| {'the same numbers' if same else 'OTHER NUMBERS'} |"
            )
            print(lines[-1], flush=True)
    write_section(
        options.out,
        HEADING,
        f"""Best validation loss (nats) of {EPOCHS} epochs in each mode, made by
`python -m benchmarks.beyond.trainers`; the CNN on 10,000 MNIST images, the transformer on Python's
own library. The engine's share counts finding the units once, which {EPOCHS} short epochs hardly
outweigh ([psa.md](psa.md) has a long run). Lightning's batches are not reshuffled here, so its
losses stand beside each other only. In the plain loop the units are found by `save`, outside of the
count. One run of each was killed (`kill -9`) after its second epoch and started again.

{chr(10).join(lines)}""",
    )


if __name__ == "__main__":
    main()
