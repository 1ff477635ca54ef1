"""A run works in a copy like that of certification: with the data beside the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.ablate.study.request import TrainingProtocol
from antifragile.ablate.study.server import (
    changed_tree,
    open_study_copies,
)
from antifragile.errors import UsageError
from tests.ablate.study.small_study import (
    EXPERIMENT,
    GATE,
    MODEL,
    Study,
    make_folder,
    open_study,
    write,
)

TANH = "model-tanh--identity"
READING = MODEL.replace(
    "import torch\n",
    "import json\nfrom pathlib import Path\n\nimport torch\n",
    1,
).replace(
    "def build():\n",
    "def build():\n"
    "    assert json.loads((Path(__file__).parent / 'config.json').read_text()) == [4]\n"
    "    assert open('words/vocabulary.txt').read() == 'a b'\n",
)
LAZY = MODEL.replace("nn.Linear(4, 8)", "nn.LazyLinear(8)").replace(
    "self.last = nn.Linear(8, 2)", "self.drop, self.last = nn.Dropout(0.5), nn.Linear(8, 2)"
)
LAZY_CUTS = {
    "model-extra--identity": ("self.extra = nn.Linear(4, 4)", "self.extra = nn.Identity()"),
}
PROBE = """\
import torch


def run(build_model, seed, data_order_seed):
    model, twin = build_model(), build_model()
    state, same = model.state_dict(), twin.state_dict()
    metrics = {name: float(value.sum()) for name, value in state.items()}
    metrics["twin"] = float(all(torch.equal(state[k], same[k]) for k in state))
    metrics["modes"] = float(all(part.training for part in model.modules()))
    metrics["gradients"] = float(sum(p.grad is not None for p in model.parameters()))
    metrics["stream"] = float(torch.rand(()))
    return metrics


evaluate = run
"""


@pytest.fixture(scope="module")
def study(tracing: Server) -> Iterator[Study]:
    """Run a study of one seed and one cut, where nothing else is said."""
    with open_study(certifier=tracing) as run:
        yield run


@pytest.fixture
def reading(tmp_path: Path) -> Path:
    """A study's folder whose model reads two files beside it."""
    make_folder(tmp_path, model=READING)
    write(tmp_path / "source" / "config.json", "[4]")
    write(tmp_path / "source" / "words" / "vocabulary.txt", "a b")
    return tmp_path


def test_files_beside_the_model_are_there_in_runs_and_combinations(
    reading: Path, study: Study
) -> None:
    experiment = reading / "source" / "experiment.py"
    outcome = study(reading, experiment, arms=[GATE, TANH], design=DesignName.PAIRWISE)
    assert [run.failure for run in outcome.manifest.runs] == [None] * len(outcome.manifest.runs)
    assert outcome.manifest.combinations is not None
    assert [pair.verdict for pair in outcome.manifest.combinations] == ["certified"]
    assert outcome.n_run == 6  # the baseline, two cuts, their pair; two checks


def test_paths_relative_to_the_current_folder_lead_to_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Study
) -> None:
    """What an experiment reads there it finds, and what it writes there goes with the copy."""
    make_folder(tmp_path)
    here = tmp_path / "elsewhere"
    write(here / "data" / "x.txt", "7")
    write(here / "torch.py", "raise ImportError('of the current folder')")
    text = EXPERIMENT.replace(
        "    model = build_model()\n",
        "    model = build_model()\n"
        "    assert open('data/x.txt').read() == '7'\n"
        "    open('best.pt', 'x').close()\n",
        1,
    )
    write(here / "experiment.py", text)
    monkeypatch.chdir(here)
    before = sorted(tmp_path.rglob("*"))
    outcome = study(tmp_path, here / "experiment.py")
    assert (outcome.n_run, outcome.n_failed) == (4, 0)
    told = "the model wrote to best.pt in its copy; your own files are as they were."
    assert told in outcome.notes
    assert {path for path in tmp_path.rglob("*") if path not in before} == {tmp_path / "study.db"}


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_a_tree_that_is_not_as_it_was_leaves_the_variants_alone(
    reading: Path, change: str, study: Study
) -> None:
    experiment = reading / "experiment.py"
    write(experiment, EXPERIMENT)
    model = reading / "source" / "model.py"
    if change == "gone":
        shutil.rmtree(reading / "source")
        why = f"{model} is not there"
    else:
        model.write_text(READING + "# later\n")
        why = f"{model} was changed after the variants were generated"
    with pytest.raises(UsageError) as caught:
        study(reading, experiment)
    assert str(caught.value).startswith(
        "the experiment fails on the baseline: build() of model.py raised FileNotFoundError: "
    )
    assert str(caught.value).endswith(f"; the run had the variant's own files alone, as {why}.")


def test_other_failures_do_not_speak_of_missing_files(tmp_path: Path) -> None:
    out = make_folder(tmp_path)
    (tmp_path / "source" / "model.py").unlink()
    folder = read_ablation_folder(out)
    with open_study_copies(folder) as copies:
        assert copies.explained("build() raised ValueError: no") == "build() raised ValueError: no"
        assert (copies.copies.original / "model.py").read_text() == MODEL
        assert not (copies.copies.original / "experiment.py").exists()
    assert changed_tree(folder) == f"{tmp_path / 'source' / 'model.py'} is not there"


def test_a_variant_without_a_tree_trains_alone(tmp_path: Path, study: Study) -> None:
    """Another machine: the folder of variants is all there is."""
    out = make_folder(tmp_path)
    shutil.move(tmp_path / "source" / "experiment.py", tmp_path / "experiment.py")
    shutil.rmtree(tmp_path / "source")
    assert json.loads((out / "ablations.json").read_text())["project"]["root"]
    assert study(tmp_path, tmp_path / "experiment.py").n_failed == 0


def test_lazy_layers_have_their_values_before_they_are_paired(tmp_path: Path, study: Study) -> None:
    make_folder(tmp_path, model=LAZY, cuts=LAZY_CUTS)
    write(tmp_path / "probe.py", PROBE)
    arm = "model-extra--identity"  # draws fewer numbers before the lazy layers
    changes = {"arms": [arm], "metric": "stream", "seeds": (1, 2)}
    outcome = study(tmp_path, tmp_path / "probe.py", **changes)
    assert outcome.n_failed == 0
    runs = [run for run in outcome.manifest.runs if run.role == "run"]
    found = {(run.ablated, run.seed): run.metrics or {} for run in runs}
    for seed in (1, 2):
        baseline, cut = found[(), seed], found[(arm,), seed]
        assert cut == {k: v for k, v in baseline.items() if not k.startswith("extra")}
        assert baseline["first.weight"] != 0.0
        assert (baseline["twin"], baseline["modes"], baseline["gradients"]) == (1.0, 1.0, 0.0)
    assert found[(), 1]["first.weight"] != found[(), 2]["first.weight"]


def test_lazy_layers_take_trained_values(tmp_path: Path, study: Study) -> None:
    make_folder(tmp_path, model=LAZY, cuts=LAZY_CUTS)
    text = EXPERIMENT.replace(
        "    x, y = data(seed + 1000", "    model.eval()\n    x, y = data(seed + 1000"
    )
    write(tmp_path / "lazy.py", text)
    changes = {"arms": ["model-extra--identity"], "protocols": tuple(TrainingProtocol)}
    outcome = study(tmp_path, tmp_path / "lazy.py", **changes)
    assert outcome.n_failed == 0
    runs = [run for run in outcome.manifest.runs if not run.ablated and run.role == "run"]
    retrained, post_hoc = sorted(runs, key=lambda run: run.protocol != "retrain")
    assert retrained.metrics == post_hoc.metrics
