"""A small CNN on 10,000 MNIST images and a small transformer on Python's own library.

Both are what a user has: a model, a training loop, a validation score. Shape letters: B samples,
T positions, D channels, V = 128 letters.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset

N_IMAGES, N_VALIDATION = 10_000, 5_000
LETTERS, CONTEXT, CHANNELS, HEADS, LAYERS = 128, 64, 64, 4, 3
TEXT_STEPS, TEXT_BATCH = 240, 32


def small_cnn() -> nn.Module:
    """Build a convolutional network of 52,186 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 7 * 7, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(CHANNELS), nn.LayerNorm(CHANNELS)
        self.query, self.key, self.value, self.out = (
            nn.Linear(CHANNELS, CHANNELS) for _ in range(4)
        )
        self.up, self.down = nn.Linear(CHANNELS, 4 * CHANNELS), nn.Linear(4 * CHANNELS, CHANNELS)

    def forward(self, stream: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        normed = self.norm1(stream)
        heads = [
            layer(normed).unflatten(2, (HEADS, -1)).transpose(1, 2)  # (B, heads, T, D / heads)
            for layer in (self.query, self.key, self.value)
        ]
        mixed = scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
        stream = stream + self.out(mixed)
        return stream + self.down(gelu(self.up(self.norm2(stream))))


class SmallTransformer(nn.Module):
    """A language model of letters, of 170,688 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(LETTERS, CHANNELS), nn.Embedding(CONTEXT, CHANNELS)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, LETTERS)

    def forward(self, text: Tensor) -> Tensor:
        """Map letters (B, T) to the logits (B, T, V) of the next ones."""
        stream = self.letters(text) + self.places(torch.arange(text.shape[1]))
        return self.head(self.norm(self.blocks(stream)))


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model with its training and its scores.

    Args:
        name: Its name.
        build: Returns a new model, drawn from torch's global generator.
        train_epoch: Trains a model for an epoch with an optimizer.
        validate: Measures it on validation data.
        test: Measures it on data that chose nothing.
        minimize: Whether less is better.
        learning_rate: AdamW's.
        unit: The unit of the scores.
    """

    name: str
    build: Callable[[], nn.Module]
    train_epoch: Callable[[nn.Module, torch.optim.Optimizer], None]
    validate: Callable[[nn.Module], float]
    test: Callable[[nn.Module], float]
    minimize: bool
    learning_rate: float
    unit: str


Sets = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Inputs and targets to train on, and to validate on."""


def digit_sets(data: Dataset) -> Sets:
    """Take 10,000 images of MNIST (B, 1, 28, 28) to train on, and 5,000 to validate."""
    images, held = (
        split.images[:n].view(-1, 1, 28, 28)
        for split, n in ((data.train, N_IMAGES), (data.validation, N_VALIDATION))
    )
    return (
        (images, data.train.labels[:N_IMAGES]),
        (held, data.validation.labels[:N_VALIDATION]),
    )


def text_sets() -> Sets:
    """Cut pieces of the library's text (B, T), with the letters that follow, (B, T)."""
    pieces = library_text()[:901_000].unfold(0, CONTEXT + 1, CONTEXT)
    train, held = pieces[:4000], pieces[-1000:]
    return (train[:, :-1], train[:, 1:]), (held[:, :-1], held[:, 1:])


def digits_task(noise: float, seed: int, data_dir: str | None = None) -> Task:
    """Digits of MNIST: 10,000 images to train on, 5,000 to validate, the 10,000 of the test.

    Args:
        noise: Share of the training labels that are drawn anew, uniformly.
        seed: Seed of that draw.
        data_dir: Folder of the data sets.
    """
    data = load_dataset("mnist", data_dir=data_dir)
    (images, labels), held = digit_sets(data)
    test = data.test
    final = test.images.view(-1, 1, 28, 28), test.labels
    labels, draw = labels.clone(), torch.Generator().manual_seed(seed)
    wrong = torch.rand(N_IMAGES, generator=draw) < noise
    labels[wrong] = torch.randint(0, 10, (int(wrong.sum()),), generator=draw)

    def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model.train()
        for rows in torch.randperm(N_IMAGES).split(64):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(model(images[rows]), labels[rows]))
            optimizer.step()

    return Task(
        name=f"CNN, {noise:.0%} label noise" if noise else "CNN",
        build=small_cnn,
        train_epoch=train_epoch,
        validate=lambda model: accuracy(model, *held),
        test=lambda model: accuracy(model, *final),
        minimize=False,
        learning_rate=1e-3,
        unit="% correct",
    )


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of correct samples, percent."""
    model.eval()
    right = sum(
        int((model(images[rows]).argmax(1) == labels[rows]).sum())
        for rows in torch.arange(len(labels)).split(1000)
    )
    return 100 * right / len(labels)


@cache
def library_text() -> Tensor:
    """Read a million letters of Python's own library, other letters than ASCII's as ``?``."""
    text = b""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text += path.read_bytes()
        if len(text) >= 1_000_000:
            break
    letters = torch.frombuffer(bytearray(text[:1_000_000]), dtype=torch.uint8).long()
    return letters.where(letters < LETTERS, torch.tensor(ord("?")))


def text_task() -> Task:
    """Letters of the library: 80 % of the text to train on, 10 % to validate, 10 % for the test."""
    text = library_text()
    train, held, final = text[:800_000], text[800_000:900_000], text[900_000:]

    def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model.train()
        for _ in range(TEXT_STEPS):
            starts = torch.randint(0, len(train) - CONTEXT, (TEXT_BATCH,))
            pieces = torch.stack([train[start : start + CONTEXT + 1] for start in starts])
            optimizer.zero_grad()
            torch.autograd.backward(letter_loss(model, pieces))
            optimizer.step()

    return Task(
        name="transformer",
        build=SmallTransformer,
        train_epoch=train_epoch,
        validate=lambda model: bits(model, held),
        test=lambda model: bits(model, final),
        minimize=True,
        learning_rate=1e-3,
        unit="bits a letter",
    )


def letter_loss(model: nn.Module, pieces: Tensor) -> Tensor:
    """Mean cross entropy of the next letters of pieces (B, T + 1), in nats."""
    logits = model(pieces[:, :-1])
    return cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())


@torch.no_grad()
def bits(model: nn.Module, text: Tensor) -> float:
    """Mean loss on every tenth piece of a text, in bits a letter."""
    model.eval()
    pieces = text.unfold(0, CONTEXT + 1, 10 * CONTEXT)
    return float(letter_loss(model, pieces)) / 0.6931471805599453
