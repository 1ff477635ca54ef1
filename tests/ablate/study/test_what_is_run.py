"""What a study trains and measures with is what was certified and hashed, whatever changes."""

from __future__ import annotations

import os
import py_compile
from collections.abc import Iterator
from pathlib import Path

import pytest

from antifragile.ablate.generation.digests import AGAIN
from antifragile.ablate.study.request import TrainingProtocol
from antifragile.ablate.study.running.keys import RunKeys, _sha256
from antifragile.ablate.study.server import StudyCopies
from antifragile.ablate.study.study import AblationOutcome
from antifragile.errors import StoreError, UsageError
from antifragile.store.ablation import AblationStore
from tests.ablate.study.small_study import GATE, MODEL, Study, make_folder, open_study, write

CONSTANT = """\
VALUE = 1.0


def run(build_model, seed, data_order_seed):
    build_model()
    return {"accuracy": VALUE}
"""
WIDTH = """\
import json
from pathlib import Path


def run(build_model, seed, data_order_seed):
    build_model()
    here = Path("config.json")
    return {"accuracy": json.loads(here.read_text())["width"] if here.exists() else 0}
"""


@pytest.fixture(scope="module")
def study() -> Iterator[Study]:
    """Run a study of one seed and one cut, where nothing else is said."""
    with open_study() as run:
        yield run


def values_of(outcome: AblationOutcome) -> set[float | None]:
    """The metric of all runs."""
    return {(run.metrics or {}).get("accuracy") for run in outcome.manifest.runs}


@pytest.mark.parametrize("part", ["experiment.py", "neighbour.py"])
def test_an_experiment_that_changes_during_a_study_ends_it(
    tmp_path: Path, study: Study, part: str
) -> None:
    make_folder(tmp_path)
    here = tmp_path / "elsewhere"
    write(here / "neighbour.py", "VALUE = 1.0\n")
    edit = (
        f"    from pathlib import Path\n    path = Path({str(here / part)!r})\n"
        "    path.write_text(path.read_text().replace('VALUE = 1.0', 'VALUE = 0.5'))\n"
    )
    text = CONSTANT.replace("    build_model()\n", "    build_model()\n" + edit)
    write(here / "experiment.py", text.replace("VALUE = 1.0\n", "VALUE = 1.0\nimport neighbour\n"))
    with pytest.raises(UsageError, match=rf"{part} was changed after the study began; what ended"):
        study(tmp_path, here / "experiment.py")
    with AblationStore(str(tmp_path / "study.db")) as store:
        keys = [run["key"] for run in store.manifest("made")["runs"]]
        assert [run.metrics for run in store.ablation_runs(keys).values()] == [{"accuracy": 1.0}]


def test_compiled_copies_of_an_experiment_are_not_run(tmp_path: Path, study: Study) -> None:
    make_folder(tmp_path)
    here = tmp_path / "elsewhere"
    texts = {
        "experiment.py": CONSTANT.replace(
            "VALUE = 1.0\n", "from neighbour import VALUE\n\nOWN = 1.0\n"
        ).replace("VALUE}", "VALUE * OWN}"),
        "neighbour.py": "VALUE = 1.0\n",
    }
    for name, text in texts.items():
        write(here / name, text.replace("= 1.0", "= 0.5"))
        os.utime(here / name, (1e9, 1e9))
        py_compile.compile(str(here / name))
        write(here / name, text)
        os.utime(here / name, (1e9, 1e9))  # as old and as long as what was compiled
    assert values_of(study(tmp_path, here / "experiment.py")) == {1.0}


def test_a_file_that_nobody_listed_is_no_part_of_a_variant(tmp_path: Path, study: Study) -> None:
    make_folder(tmp_path)
    write(tmp_path / "experiment.py", WIDTH)
    write(tmp_path / "variants" / GATE / "config.json", '{"width": 100}')
    assert values_of(study(tmp_path, tmp_path / "experiment.py")) == {0.0}
    write(tmp_path / "source" / "config.json", '{"width": 8}')
    with pytest.raises(StoreError, match=rf"{GATE}/config.json is not part of the variant, which"):
        study(tmp_path, tmp_path / "experiment.py")


@pytest.mark.parametrize("name", [GATE, "baseline"])
def test_a_variant_that_is_swapped_after_it_was_checked_is_not_trained(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is good when the folder is read, other when it is copied, and good again after that."""
    make_folder(tmp_path)
    write(tmp_path / "experiment.py", CONSTANT)
    model = tmp_path / "variants" / name / "model.py"
    good, sources = model.read_text(), StudyCopies.sources

    def swapped(copies: StudyCopies, place: Path) -> tuple[str, ...]:
        model.write_text(good + "VALUE = 2\n")
        found = sources(copies, place)
        model.write_text(good)
        return found

    monkeypatch.setattr(StudyCopies, "sources", swapped)
    if name == "baseline":
        with pytest.raises(UsageError, match=r"model.py was changed after it was certified"):
            study(tmp_path, tmp_path / "experiment.py")
    else:
        outcome = study(tmp_path, tmp_path / "experiment.py")
        said = f"model.py was changed after it was certified; {AGAIN}"
        assert [run.failure for run in outcome.manifest.runs if run.ablated] == [said]


SCORE = """\
from pathlib import Path

FOLDER = {folder}


def run(build_model, seed, data_order_seed):
    build_model()
    log = Path(__file__).with_name("log.txt")
    log.write_text((log.read_text() if log.exists() else "") + "a run")
    return {{"accuracy": float((FOLDER / "score.txt").read_text())}}


def evaluate(model, seed, data_order_seed):
    return {{"accuracy": 0.0}}
"""


@pytest.mark.parametrize("where", ["beside the experiment", "beside the model"])
def test_a_file_that_runs_read_is_part_of_their_keys(
    tmp_path: Path, study: Study, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_folder(tmp_path)
    is_model = where == "beside the model"
    here = tmp_path / "elsewhere"
    experiment, score = (
        here / "experiment.py",
        (tmp_path / "source" if is_model else here) / "score.txt",
    )
    folder = "Path()" if is_model else "Path(__file__).parent"
    write(experiment, SCORE.format(folder=folder))
    write(score, "0.5")
    first = study(tmp_path, experiment)
    assert (first.n_run, first.n_found) == (4, 0)
    again = study(tmp_path, experiment, seeds=(1, 2))
    assert (again.n_run, again.n_found) == (4, 4)  # a baseline, cut, repeat and placebo each
    assert not caplog.messages
    write(score.with_name("other.txt"), "which no run reads")
    write(score, "1.5")
    other = study(tmp_path, experiment, seeds=(1, 2))
    assert (other.n_run, other.n_found) == (8, 0)
    assert values_of(other) == {1.5}
    said = "Earlier runs read score.txt, which was changed since; they are run again."
    assert caplog.messages == [said]
    write(score, "0.5")
    back = study(tmp_path, experiment, seeds=(1, 2))
    assert (back.n_run, back.n_found) == (0, 8)
    assert values_of(back) == {0.5}


def test_a_trained_baseline_depends_on_what_its_training_read(tmp_path: Path, study: Study) -> None:
    make_folder(tmp_path)
    here = tmp_path / "elsewhere"
    write(here / "experiment.py", SCORE.format(folder="Path(__file__).parent"))
    protocols = (TrainingProtocol.POST_HOC,)
    found = []
    for text in ("0.5", "1.5", "0.5"):
        write(here / "score.txt", text)
        found.append(study(tmp_path, here / "experiment.py", protocols=protocols))
    assert [(outcome.n_run, outcome.n_failed) for outcome in found] == [(3, 0), (3, 0), (0, 0)]


def test_a_model_is_not_trained_with_other_files_than_it_was_certified_with(
    tmp_path: Path, study: Study
) -> None:
    config, experiment = tmp_path / "source" / "config.json", tmp_path / "elsewhere" / "run.py"
    write(config, '{"bias": 0.5}')
    write(tmp_path / "source" / "notes.txt", "which no model reads")
    read = "json.loads(Path(__file__).with_name('config.json').read_text())['bias']"
    model = MODEL.replace("bias, 0.5", f"bias, {read}")
    make_folder(tmp_path, model=f"import json\nfrom pathlib import Path\n\n{model}")
    write(experiment, CONSTANT)
    assert study(tmp_path, experiment).n_run == 4
    write(tmp_path / "source" / "notes.txt", "which changed")
    assert study(tmp_path, experiment).n_found == 4
    write(config, '{"bias": 2.5}')
    with pytest.raises(UsageError, match=r"the model reads config\.json, which was changed after"):
        study(tmp_path, experiment)
    write(config, '{"bias": 0.5}')
    assert study(tmp_path, experiment).n_found == 4


def test_runs_that_do_not_say_what_they_read_are_run_again(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Versions before this one stored a run below the hash of all but the files that it read."""
    make_folder(tmp_path)
    write(tmp_path / "experiment.py", CONSTANT)
    with monkeypatch.context() as patch:
        patch.setattr(RunKeys, "_first_key", lambda keys, plan: _sha256(keys._known(plan)))
        study(tmp_path, tmp_path / "experiment.py")
    caplog.clear()
    assert study(tmp_path, tmp_path / "experiment.py").n_run == 4
    [said] = caplog.messages
    assert said.startswith("Runs that an earlier version stored do not say which files they read")
