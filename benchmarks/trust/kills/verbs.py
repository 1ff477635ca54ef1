"""The commands that are killed, and the folders that they start in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SPEC = """\
name = "small"
dataset = "tiny"
architectures = ["1*4", "2*2"]
modes = ["none", "output", "dropout"]
trials = 2
meta_loops = 60
pairing = "independent"
keep = "lkg"

[training]
learning_rate = 0.01
batch_size = 8
"""
MODEL = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.act = nn.Tanh()
        self.branch = nn.Linear(8, 8)
        self.last = nn.Linear(8, 2)

    def forward(self, x):
        h = self.act(self.first(x))
        return self.last(h + self.branch(h))


def build():
    return Net()


def inputs():
    return (torch.randn(3, 4),)
"""
EXPERIMENT = """\
import torch
from torch.nn.functional import cross_entropy


def data(seed, n):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def run(build_model, seed, data_order_seed):
    model = build_model()
    x, y = data(seed, 96)
    order = torch.Generator().manual_seed(data_order_seed)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(6):
        for part in torch.randperm(96, generator=order).split(32):
            optimizer.zero_grad()
            cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
    return evaluate(model, seed, data_order_seed)


def evaluate(model, seed, data_order_seed):
    x, y = data(seed + 1000, 64)
    with torch.no_grad():
        logits = model(x)
    correct = (logits.argmax(1) == y).double().mean()
    return {"accuracy": 100 * correct, "loss": cross_entropy(logits, y)}
"""
PROGRAM = (sys.executable, "-m", "antifragile")
_MODEL_WORDS = "--source model.py --build model.py:build --inputs model.py:inputs"
_STUDY = "study run spec.toml --store s.db --checkpoint-every 0"
_GENERATE = f"ablate generate {_MODEL_WORDS} --workers 1 --out v"
_ABLATE = "ablate run v --experiment experiment.py:run --seeds 2"
_PAIR = "--only net-act--identity --only net-branch--identity --design pairwise"


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command that is killed and run again until it is done.

    Args:
        words: The command line.
        base: Name of the folder in which it starts.
    """

    words: str
    base: str


VERBS: Mapping[str, Verb] = {
    "study run": Verb(words=f"{_STUDY} --workers 1", base="spec"),
    "study run, 2 workers": Verb(words=f"{_STUDY} --workers 2 --executor local", base="spec"),
    "study run, plain": Verb(words=f"{_STUDY} --workers 1 --engine plain", base="short"),
    "study run, plain, 2 workers": Verb(
        words=f"{_STUDY} --workers 2 --executor local --engine plain", base="short"
    ),
    "study extend": Verb(
        words="study extend --store s.db --meta-loops 90 --trials 3 --workers 1 "
        "--checkpoint-every 0",
        base="stored",
    ),
    "train": Verb(
        words="train --dataset digits --arch 1*4 --meta-loops 200 --out t --resume",
        base="empty",
    ),
    "ablate generate": Verb(words=f"{_GENERATE} --kinds identity", base="set"),
    "ablate run": Verb(words=f"{_ABLATE} --protocol both --only net-act*", base="set"),
    "ablate run, pairs": Verb(words=f"{_ABLATE} {_PAIR}", base="set"),
    "report": Verb(words="report s.db --out page", base="stored"),
    "study export": Verb(words="study export --store s.db --out e.csv", base="stored"),
}


def run(folder: Path, words: str, environment: Mapping[str, str]) -> None:
    """Run a command line to its end; it has to succeed."""
    done = subprocess.run(
        [*PROGRAM, *words.split()], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words}: exit code {done.returncode}: {done.stderr}")


def make_base(name: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Make the folder in which a verb starts."""
    folder.mkdir(parents=True)
    _MAKERS[name](folder, environment)


def _empty(_folder: Path, _environment: Mapping[str, str]) -> None:
    """Leave it empty."""


def _spec(folder: Path, _environment: Mapping[str, str]) -> None:
    (folder / "spec.toml").write_text(SPEC)


def _short(folder: Path, _environment: Mapping[str, str]) -> None:
    text = SPEC.replace("meta_loops = 60", "meta_loops = 12")
    (folder / "spec.toml").write_text(text.replace('"none", "output", "dropout"', '"output"'))


def _stored(folder: Path, environment: Mapping[str, str]) -> None:
    _spec(folder, environment)
    run(folder, f"{_STUDY} --workers 1", environment)


def _set(folder: Path, environment: Mapping[str, str]) -> None:
    """Put an older set of other variants there, with work of the user's beside it."""
    (folder / "model.py").write_text(MODEL)
    (folder / "experiment.py").write_text(EXPERIMENT)
    run(folder, f"{_GENERATE} --kinds identity,remove-branch", environment)
    (folder / "v" / "mynotes").mkdir()
    (folder / "v" / "mynotes" / "x.txt").write_text("keep")


_MAKERS: Mapping[str, Callable[[Path, Mapping[str, str]], None]] = {
    "empty": _empty,
    "spec": _spec,
    "short": _short,
    "stored": _stored,
    "set": _set,
}


def copy_base(base: Path, folder: Path) -> None:
    """Start from a copy; it lies at another path, as a moved folder would."""
    shutil.copytree(base, folder)
