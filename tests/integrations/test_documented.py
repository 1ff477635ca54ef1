"""The examples of docs/perturbation.md for each trainer run as printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.integrations.needed import LIGHTNING_WARNINGS

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "perturbation.md"
SECTION = re.search(
    r"^## In the trainers people have\n(.*?)^## ", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
)
assert SECTION is not None
EXAMPLES = re.findall(r"```python\n(.*?)```", SECTION[1], re.DOTALL)
PLAIN, LIGHTNING, HUGGING_FACE, ACCELERATE, SKORCH = EXAMPLES
MOST_LINES = 15


class Classifier(nn.Module):
    """A linear network that gives scores, and with labels what Hugging Face's Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        scores = self.layers(x)
        if labels is None:
            return scores
        return {"loss": nn.functional.cross_entropy(scores, labels), "logits": scores}


def given(folder: Path) -> dict[str, Any]:
    """Make what the section says is given."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 8, generator=generator)
    y = torch.randint(0, 3, (64,), generator=generator)
    return {
        "model": Classifier(),
        "loader": DataLoader(TensorDataset(x, y), batch_size=8),
        "data": [{"x": row, "labels": label} for row, label in zip(x, y, strict=True)],
        "X": x.numpy(),
        "Y": y.numpy(),
        "folder": str(folder),
    }


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Collect the numbers of the steps after which a handle counted on."""
    from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer

    steps: list[int] = []
    after = PerturbedOptimizer.after_step

    def counted(core: PerturbedOptimizer) -> None:
        after(core)
        steps.append(core.step_number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PerturbedOptimizer, "after_step", counted)
        yield steps


def run(example: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, steps: int) -> None:
    monkeypatch.chdir(folder)
    names = given(folder)
    model = names["model"]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with counted_steps() as counted:
        exec(compile(example, "perturbation.md", "exec"), names)
    assert counted == list(range(1, steps + 1))
    assert any(not torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_short(example: str) -> None:
    assert len([line for line in example.splitlines() if line]) <= MOST_LINES


def test_plain_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(PLAIN, tmp_path, monkeypatch, steps=8)


@pytest.mark.filterwarnings(*LIGHTNING_WARNINGS, "ignore:The number of training batches")
@pytest.mark.usefixtures("lightning_is_here")
def test_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(LIGHTNING, tmp_path, monkeypatch, steps=16)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
@pytest.mark.usefixtures("transformers_are_here")
def test_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(HUGGING_FACE, tmp_path, monkeypatch, steps=16)


@pytest.mark.usefixtures("accelerate_is_here")
def test_accelerate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(ACCELERATE, tmp_path, monkeypatch, steps=4)


@pytest.mark.usefixtures("skorch_is_here")
def test_skorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(SKORCH, tmp_path, monkeypatch, steps=2)
