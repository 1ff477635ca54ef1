"""Pairs of runs: models start from the baseline's values, streams too, and constants are noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from antifragile.ablate.command.overlay import can_mount
from antifragile.ablate.command.proof import WatchedFiles, constants, unpaired
from antifragile.ablate.command.startup.notes import WatchedRun
from antifragile.ablate.sandbox.server import Server
from tests.ablate.command.launching import Ended, Repository

Make = Callable[..., Repository]
MODEL = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.extra = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.scale = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return self.norm(x + self.extra(x)) * self.scale


class Tagged:
    def __init_subclass__(cls, tag="", **named):
        super().__init_subclass__(**named)
        cls.tag = tag


class Net(nn.Module, Tagged, tag="of a mixin"):
    def __init__(self, width=4):
        super().__init__()
        self.first = Block(width)
        self.second = Block(width)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.drop(self.second(self.first(x))))
"""
TRAIN = """\
import copy, json, pathlib, random, sys
import numpy, torch
from torch.nn.functional import cross_entropy
from model import Net

assert Net.tag == "of a mixin"
PREPARE
student, teacher = Net(), Net()
ema = copy.deepcopy(student)
LOAD
drawn = [torch.rand(()).item(), random.random(), numpy.random.rand()]
start = {k: v.double().sum().item() for k, v in student.state_dict().items()}
twin = {k: v.double().sum().item() for k, v in teacher.state_dict().items()}
shadow = {k: v.double().sum().item() for k, v in ema.state_dict().items()}
optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
x = torch.randn(32, 4)
for _ in range(3):
    loss = cross_entropy(student(x), (x[:, 0] > 0).long())
    optimizer.zero_grad(); loss.backward(); optimizer.step()
found = {"value": loss.item(), "drawn": drawn, "start": start, "twin": twin, "shadow": shadow}
(pathlib.Path(sys.argv[1]) / "m.json").write_text(json.dumps(found))
"""
SMALLER = {
    "model.py": MODEL.replace("        self.extra = nn.Linear(width, width)\n", "").replace(
        "x + self.extra(x)", "x"
    )
}


@pytest.fixture
def make(server: Server, tmp_path: Path) -> Make:
    """Make a repository that trains a student with a teacher and an average."""
    root = tmp_path / "repo"
    root.mkdir()

    def make_it(prepare: str = "", load: str = "", **options: object) -> Repository:
        script = TRAIN.replace("PREPARE", prepare).replace("LOAD", load)
        return Repository(
            server=server,
            root=root,
            files={"train.py": script, "model.py": MODEL},
            command="train.py {out}",
            mounts=can_mount(str(root), tmp_path / "tried"),
            **options,  # type: ignore[arg-type]
        )

    return make_it


def left(ended: Ended) -> dict[str, object]:
    """What the script wrote."""
    assert ended.outcome.failure is None, ended.outcome.reason
    found: dict[str, object] = json.loads((ended.run / "out" / "m.json").read_text())
    return found


def baseline_of(repository: Repository, tmp_path: Path) -> tuple[Ended, Path]:
    """Run the baseline, and keep its initial values."""
    kept = tmp_path / "kept.safetensors"
    return repository.run(keeps=kept), kept


def test_what_survives_starts_from_the_baselines_values(make: Make, tmp_path: Path) -> None:
    repository = make()
    baseline, kept = baseline_of(repository, tmp_path)
    variant = repository.run(SMALLER, starts=kept)
    theirs, ours = left(baseline), left(variant)
    for name in ("start", "twin", "shadow"):
        start, all_of = ours[name], theirs[name]
        assert isinstance(start, dict)
        assert isinstance(all_of, dict)
        assert start.items() < all_of.items()
        assert len(all_of) - len(start) == 4  # weights and biases of the layers that are gone
    assert ours["start"] != ours["twin"]
    assert ours["drawn"] == theirs["drawn"]
    assert unpaired(baseline.notes, variant.notes, ()) == ""
    saved = load_file(kept)
    assert {name.partition(".first")[0] for name in saved if ".first." in name} == {
        "model.Net#0",
        "model.Net#1",
    }


@pytest.mark.slow
def test_an_unpaired_run_differs_and_is_said(make: Make, tmp_path: Path) -> None:
    repository = make()
    baseline, kept = baseline_of(repository, tmp_path)
    other = repository.run(SMALLER)
    assert left(other)["drawn"] != left(baseline)["drawn"]
    assert "tensors differ at the first step, first." in unpaired(baseline.notes, other.notes, ())
    own = repository.run(SMALLER, starts=kept, own_values=("first.scale",))
    clause = unpaired(baseline.notes, own.notes, ())
    assert "2 of 16 tensors differ at the first step, first.scale among them" in clause
    assert unpaired(baseline.notes, own.notes, ("first.scale",)) == ""


@pytest.mark.slow
def test_the_baseline_computes_what_the_plain_command_does(make: Make, tmp_path: Path) -> None:
    repository = make("torch.manual_seed(3); random.seed(3); numpy.random.seed(3)")
    plain = repository.run()
    kept, _ = baseline_of(repository, tmp_path)
    assert left(plain) == left(kept)


@pytest.mark.slow
def test_a_checkpoint_that_is_loaded_stays(make: Make, tmp_path: Path) -> None:
    model = tmp_path / "pretrained.pt"
    repository = make(load=f"student.load_state_dict(torch.load({str(model)!r}), strict=False)")
    baseline_net = {f"{layer}.scale": torch.full((4,), 7.0) for layer in ("first", "second")}
    torch.save(baseline_net, model)
    baseline, kept = baseline_of(repository, tmp_path)
    variant = repository.run(SMALLER, starts=kept)
    start = left(variant)["start"]
    assert isinstance(start, dict)
    assert start["first.scale"] == 28.0
    assert unpaired(baseline.notes, variant.notes, ()) == ""
    assert (str(model), True) in variant.notes.opened


@pytest.mark.slow
def test_another_stream_draws_other_batches_from_the_same_start(make: Make, tmp_path: Path) -> None:
    repository = make()
    baseline, kept = baseline_of(repository, tmp_path)
    placebo = repository.run(starts=kept, stream=99)
    assert left(placebo)["start"] == left(baseline)["start"]
    assert left(placebo)["drawn"] != left(baseline)["drawn"]


@pytest.mark.slow
def test_constants_are_noted_and_with_reseed_take_the_seed(make: Make) -> None:
    seeding = (
        "torch.manual_seed(1337); random.seed(1337); numpy.random.seed(7)\n"
        "made = torch.Generator().manual_seed(5); assert isinstance(made, torch.Generator)\n"
        "assert isinstance(torch.default_generator, torch.Generator)\n"
        "first = torch.rand((), generator=made).item(), numpy.random.default_rng(3).random()\n"
    )
    repository = make(seeding, load="student.bias = first")
    runs = [repository.run(seed=seed) for seed in (1, 2)]
    assert left(runs[0]) == left(runs[1])
    assert constants(runs[0].notes, runs[1].notes) == [
        "numpy.random.default_rng(3)",
        "numpy.random.seed(7)",
        "random.seed(1337)",
        "torch.manual_seed(1337)",
    ]
    repository.reseeds = True
    reseeded = [left(repository.run(seed=seed)) for seed in (1, 2, 1)]
    assert reseeded[0] == reseeded[2]
    assert reseeded[0]["start"] != reseeded[1]["start"]


@pytest.mark.slow
def test_without_seeding_every_seed_is_another_run_and_each_repeats(make: Make) -> None:
    repository = make()
    found = [left(repository.run(seed=seed)) for seed in (1, 2, 1)]
    assert found[0] == found[2]
    for name in ("start", "drawn"):
        assert found[0][name] != found[1][name]


def test_models_of_a_package_count_that_shares_no_folder_with_the_repository(
    tmp_path: Path,
) -> None:
    package = tmp_path / "site" / "pack"
    repository = tmp_path / "repo"
    for folder in (package / "nets", repository, tmp_path / "run"):
        folder.mkdir(parents=True)
    for file in (package / "__init__.py", package / "nets" / "__init__.py"):
        file.touch()
    (package / "nets" / "net.py").write_text(MODEL)
    file = str(package / "nets" / "net.py").lstrip("/")
    files = WatchedFiles.of(Path("/"), (file,), Path("/"))  # which is all that the two share
    assert files.packages == [str(package)]


@pytest.mark.parametrize(
    ("file", "is_users"),
    [
        ("repo/model.py", True),
        ("repo/.venv/lib/python3.11/site-packages/torch/nn/linear.py", False),
        ("lib/site-packages/pack/net.py", True),  # the package whose files variants edit
        ("lib/site-packages/other/net.py", False),
    ],
)
def test_packages_of_an_environment_in_the_repository_are_not_the_users(
    file: str, is_users: bool, tmp_path: Path
) -> None:
    roots = [f"{tmp_path}/repo/", f"{tmp_path}/lib/site-packages/pack/"]
    empty = dict.fromkeys(("saves", "starts", "fenced", "preview"), "")
    lists: dict[str, list[str]] = {
        name: [] for name in ("watched", "quiet", "own_values", "writable")
    }
    numbers = {"seed": 1, "reseeds": False, "stream": None, "preview_steps": 0, "environment": {}}
    notes = {"notes": str(tmp_path / "notes"), "roots": roots}
    (tmp_path / "run.json").write_text(json.dumps({**empty, **lists, **numbers, **notes}))
    assert WatchedRun(str(tmp_path / "run.json")).is_users(str(tmp_path / file)) is is_users
