"""Studies of a command: nothing runs twice, nothing is stale, nothing of the user changes."""

from __future__ import annotations

import json
import math
import py_compile
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antifragile.ablate.command.command import Command
from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.command.repository import SEAL
from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.experiment import CommandExperiment, Experiment
from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.ablate.study.request import AblationRequest
from antifragile.ablate.study.results import read_results
from antifragile.ablate.study.running.outlook import AblationOutlook
from antifragile.ablate.study.running.runs import AblationProgress, RunFailed
from antifragile.ablate.study.server import StudyProcesses
from antifragile.ablate.study.study import AblationOutcome, plan_ablation, run_ablation
from antifragile.cli.ablate.report import report
from antifragile.errors import UsageError
from antifragile.store.ablation import AblationStore
from tests.ablate.study.small_study import make_folder, write

MODEL = (
    "FACTOR = 3\nOFFSET = 1\n\n\ndef build():\n    return None\n\n\ndef inputs():\n    return ()\n"
)
CUTS = {
    "model-factor--identity": ("FACTOR = 3", "FACTOR = 1"),
    "model-offset--zero": ("OFFSET = 1", "OFFSET = 0"),
}
TRAIN = """\
import json, pathlib, random, sys
import model
from helper import SCALE

here = pathlib.Path(__file__).resolve().parent
given = float((here / "data.txt").read_text()) + float(pathlib.Path(sys.argv[3]).read_text())
noise = random.Random(int(sys.argv[1])).random()
value = SCALE * (model.FACTOR * given + model.OFFSET) + noise
(here / "checkpoint.txt").write_text("of this run")
pathlib.Path(sys.argv[2], "m.json").write_text(json.dumps({"value": value}))
"""
NOT_A_NUMBER = "value = value if model.OFFSET else float('nan')\n"
Study = Callable[..., Any]


@pytest.fixture
def study(server: Server, tmp_path: Path) -> Study:
    """Run studies of a script beside a model, in one store."""
    variants = make_folder(tmp_path, model=MODEL, cuts=CUTS)
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere.txt"
    write(source / "train.py", TRAIN)
    write(source / "helper.py", "SCALE = 1\n")
    write(source / "data.txt", "2")
    write(elsewhere, "10")

    def run(**changes: Any) -> AblationOutcome:
        text = f"{sys.executable} train.py {{seed}} {{out}} {elsewhere}"
        command = Command.read(
            changes.pop("command", text), folder=source, reseeds=changes.pop("reseeds", False)
        )
        source_of = changes.pop("metric_source", "json:{out}/m.json:value")
        sources = (MetricSource.read(source_of),)
        chosen: dict[str, Any] = {
            "name": "by-command",
            "experiment": Experiment.from_command(
                CommandExperiment(command=command, metrics=sources)
            ),
            "arms": list(CUTS),
            "seeds": (1, 2),
        }
        call = changes.pop("call", run_ablation)
        listening = {"listener": changes.pop("listener")} if "listener" in changes else {}
        processes = StudyProcesses(
            server=server,
            workers=changes.pop("workers", 1),
            fails_fast=changes.pop("fails_fast", False),
        )
        with AblationStore(str(tmp_path / "study.db")) as store:
            return call(  # type: ignore[no-any-return]  # an outcome, or an outlook
                AblationRequest(**(chosen | changes)),
                read_ablation_folder(variants),
                store,
                processes=processes,
                **listening,
            )

    return run


def values(outcome: AblationOutcome) -> dict[str, list[float | None]]:
    """The metric of every arm, by seed."""
    found: dict[str, list[float | None]] = {}
    for run in sorted(outcome.manifest.runs, key=lambda run: run.seed):
        found.setdefault(run.label, []).append(run.metrics and run.metrics["value"])
    return found


def test_every_run_is_of_its_variant_and_nothing_of_the_users_changes(
    study: Study, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "source").rglob("*.*")}
    found = values(study())
    one, two = found["baseline"]
    assert one is not None
    assert two is not None
    assert found["model-factor--identity"] == [pytest.approx(one - 24), pytest.approx(two - 24)]
    assert found["model-offset--zero"] == [pytest.approx(one - 1), pytest.approx(two - 1)]
    assert found["baseline, repeat"] == [one, two]
    assert {path: path.read_bytes() for path in (tmp_path / "source").rglob("*.*")} == before
    runs = tmp_path / "study.db.files"
    assert len(list(runs.glob("*/runs/*/out/m.json"))) == 10
    series = [
        json.loads(path.read_text()) for path in runs.glob("*/runs/baseline-seed-*/series.json")
    ]
    assert sorted(item["value"] for item in series) == sorted([[one], [two]])
    assert len(list(runs.glob("*/runs/*/stderr.txt"))) == 10


def test_nothing_runs_twice(study: Study) -> None:
    assert study(arms=list(CUTS)[:1]).n_run == 8
    again = study()
    assert (again.n_run, again.n_found) == (2, 8)
    assert study().n_run == 0


@pytest.mark.parametrize("file", ["source/helper.py", "source/data.txt", "elsewhere.txt"])
def test_a_file_that_changed_is_never_stale(file: str, study: Study, tmp_path: Path) -> None:
    study(arms=list(CUTS)[:1])
    path = tmp_path / file
    path.write_text(path.read_text().replace("1", "4").replace("2", "5"))
    again = study(arms=list(CUTS)[:1])
    assert (again.n_run, again.n_found) == (8, 0)
    expected = {"source/helper.py": 4 * 37, "source/data.txt": 46, "elsewhere.txt": 3 * 42 + 1}
    assert values(again)["baseline"][0] == pytest.approx(expected[file], abs=1)


def test_what_changed_is_said_and_what_decides_nothing_is_not_asked(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, asked = tmp_path / "source", {"arms": list(CUTS)[:1], "seeds": (1,)}
    assert study(**asked).n_run == 4
    for name in ("README.md", ".gitignore"):
        write(source / name, "Read this.")
    write(source / "study_entry.py", f"def build(): ...\n{SEAL}0\n")
    write(source / "study.toml", "command = ''")
    assert study(call=plan_ablation, **asked).n_found == 4
    assert not caplog.text
    write(source / "helper.py", "SCALE = 2\n")
    write(source / "more.py", "")
    assert study(call=plan_ablation, **asked).n_found == 0
    assert "Changed since this study last ran: helper.py, more.py (new)." in caplog.text


def test_a_report_in_the_repository_makes_no_run_stale(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked: dict[str, Any] = {"arms": list(CUTS)[:1], "seeds": (1,)}
    assert study(**asked).n_run == 4
    table = tmp_path / "source" / "results" / "table.csv"
    report(str(tmp_path / "study.db"), format_="latex", out=table, study=None)
    assert study(call=plan_ablation, **asked).n_found == 4
    assert not caplog.text
    write(table, "by another hand")
    assert study(call=plan_ablation, **asked).n_found == 0


def test_a_file_that_grows_is_said_to_be_a_log(study: Study, tmp_path: Path) -> None:
    log, helper = tmp_path / "source" / "train.log", tmp_path / "source" / "helper.py"
    write(log, "one\n")

    def grow(progress: AblationProgress) -> None:
        with (log if log.exists() else helper).open("a") as file:
            file.write("# two\n")

    with pytest.raises(UsageError) as refused:
        study(listener=grow)
    words = "It has only grown; if it is a log, write it outside the repository, else put it back "
    assert words + "to go on, or run again for the new one." in str(refused.value)
    log.unlink()
    with pytest.raises(UsageError, match=r"helper\.py was .* old file\. Put it back to go on"):
        study(listener=grow)


def test_a_text_that_a_run_reads_decides_its_numbers(study: Study, tmp_path: Path) -> None:
    read, asked = tmp_path / "source" / "README.md", {"arms": list(CUTS)[:1], "seeds": (1,)}
    write(read, "one")
    reads = TRAIN.replace("noise =", "value = len((here / 'README.md').read_text())\nnoise =")
    write(tmp_path / "source" / "train.py", reads)
    assert study(**asked).n_run == 4
    write(read, "three")
    assert study(call=plan_ablation, **asked).n_found == 0


def test_runs_that_did_not_end_are_no_earlier_runs_that_read_something(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    helper = tmp_path / "source" / "helper.py"

    def edit(progress: AblationProgress) -> None:
        if progress.ended == 3:
            write(helper, "SCALE = 2\n")

    with pytest.raises(UsageError, match=r"helper\.py was changed after the study began"):
        study(listener=edit)
    write(helper, "SCALE = 1\n")
    assert study(call=plan_ablation).n_found == 3
    assert not caplog.text
    assert (study().n_found, caplog.text) == (3, "")
    write(tmp_path / "elsewhere.txt", "20")
    assert study(call=plan_ablation).n_found == 0
    [said] = caplog.messages
    assert said == f"Earlier runs read {str(tmp_path)[1:]}/elsewhere.txt, which was changed " + (
        "since; they are run again."
    )


def test_a_metric_in_a_folder_that_the_command_is_not_told_is_refused(study: Study) -> None:
    with pytest.raises(UsageError, match=r"reads in \{out\}, which the command is not told"):
        study(command=f"{sys.executable} train.py {{seed}} somewhere")


def test_progress_is_counted_over_the_whole_study(study: Study) -> None:
    told: list[tuple[int, int]] = []
    study(listener=lambda progress: told.append((progress.ended, progress.wanted)))
    assert told[0] == (0, 10)
    assert {wanted for _, wanted in told} == {10}
    assert sorted({ended for ended, _ in told}) == list(range(11))


def test_what_the_store_has_is_counted_from_the_beginning(study: Study) -> None:
    told: list[tuple[int, int]] = []
    assert study(arms=list(CUTS)[:1]).n_run == 8
    study(seeds=(1, 2, 3), listener=lambda progress: told.append((progress.ended, progress.wanted)))
    assert told[0] == (8, 14)
    assert {wanted for _, wanted in told} == {14}
    assert sorted({ended for ended, _ in told}) == list(range(8, 15))


READS = {
    "executed": "found = {}\nexec(compile(open(FILE).read(), FILE, 'exec'), found)\n"
    "value += found['SCALE']\n",
    "run by runpy": "import runpy\nvalue += runpy.run_path(FILE)['SCALE']\n",
    "imported late": "def late():\n    sys.path.insert(0, os.path.dirname(FILE))\n"
    "    import imported_late\n    return imported_late.SCALE\nvalue += late()\n",
    "a process": "subprocess.run([sys.executable, FILE], check=True)\n",
    "a process without the hook": "subprocess.run([sys.executable, '-E', FILE], check=True)\n",
    "another program": "subprocess.run(['sh', FILE], cwd='/', check=True)\n",
    "data": "value += float(open(FILE).read().split('=')[1])\n",
    "data of a process": "code = 'import sys; print(open(sys.argv[1]).read())'\n"
    "subprocess.run([sys.executable, '-c', code, FILE], check=True)\n",
}


def test_no_file_outside_that_a_run_used_is_ever_stale(study: Study, tmp_path: Path) -> None:
    script, files = "import os, subprocess\n", {}
    for way, reads in READS.items():
        name = way.replace(" ", "_") + (".sh" if way == "another program" else ".py")
        files[way] = tmp_path / "beside" / name
        write(files[way], "SCALE=1\n")
        script += reads.replace("FILE", repr(str(files[way])))
    py_compile.compile(str(files["imported late"]))  # as an earlier import by the user does
    whole = TRAIN.replace('(here / "checkpoint', script + '(here / "checkpoint')
    write(tmp_path / "source" / "train.py", whole)
    asked: dict[str, Any] = {"arms": list(CUTS)[:1], "seeds": (1,)}
    assert study(**asked).n_run == 4
    stale = []
    for way, file in files.items():
        write(file, "SCALE=20\n")
        stale += [way] if study(call=plan_ablation, **asked).n_found else []
        write(file, "SCALE=1\n")
        assert study(call=plan_ablation, **asked).n_found == 4
    assert not stale


def test_a_failed_run_is_kept_apart_and_tried_again(study: Study, tmp_path: Path) -> None:
    write(tmp_path / "source" / "model.py", MODEL)
    breaks = TRAIN.replace("noise =", "assert model.FACTOR == 3, 'no training'\nnoise =")
    write(tmp_path / "source" / "train.py", breaks)
    first = study()
    assert (first.n_run, first.n_failed) == (10, 2)
    assert values(first)["model-factor--identity"] == [None, None]
    [failure, _] = [run.failure for run in first.manifest.runs if run.failure]
    assert failure is not None
    assert " | assert model.FACTOR == 3, 'no training' | AssertionError: no training" in failure
    second = study()
    assert (second.n_run, second.n_found) == (2, 8)


def test_a_second_try_starts_with_nothing_of_the_first(study: Study, tmp_path: Path) -> None:
    """Of the first try there are metrics too, as of a training that was cut off."""
    begin = "out = pathlib.Path(sys.argv[2])\nassert not list(out.iterdir())\n"
    early = "(out / 'm.json').write_text('{\"value\": -1}')\n"
    fails = f"tried = pathlib.Path({str(tmp_path / 'tried')!r})\nif model.FACTOR == 1:\n"
    fails += "    tried.touch() if not tried.exists() else sys.exit(0)\n    sys.exit('cut off')\n"
    script = TRAIN.replace("noise =", f"{begin}{early}{fails}noise =")
    write(tmp_path / "source" / "train.py", script)
    asked: dict[str, Any] = {"arms": list(CUTS)[:1], "seeds": (1,)}
    first = study(**asked)
    assert (first.n_run, first.n_failed) == (4, 1)
    assert values(first)["model-factor--identity"] == [None]
    second = study(**asked)
    assert (second.n_run, second.n_found, second.n_failed) == (1, 3, 0)
    assert values(second)["model-factor--identity"] == [-1]


def test_a_metric_of_an_earlier_run_by_hand_is_not_a_runs(study: Study, tmp_path: Path) -> None:
    write(tmp_path / "source" / "old.json", '{"value": 0.5}')
    with pytest.raises(UsageError) as refused:
        study(metric_source="json:old.json:value")
    assert "left old.json, which --metric json:old.json:value reads, as it was before" in str(
        refused.value
    )


def test_a_run_that_diverges_is_counted_and_ranked_worst(study: Study, tmp_path: Path) -> None:
    diverges = TRAIN.replace('(here / "checkpoint', NOT_A_NUMBER + '(here / "checkpoint')
    write(tmp_path / "source" / "train.py", diverges)
    outcome = study()
    assert (outcome.n_run, outcome.n_failed) == (10, 0)
    series = (tmp_path / "study.db.files").glob("*/runs/*/series.json")
    texts = [path.read_text() for path in series]
    assert (texts.count('{"value": [null]}'), "NaN" in "".join(texts)) == (2, False)
    results = read_results(outcome.manifest)
    assert [run.ablated for run in results.diverged] == [("model-offset--zero",)] * 2
    table = results.protocols[0].judged.table.set_index("target")
    assert table["difference"].idxmax() == "model-offset--zero"
    assert table.loc["model-offset--zero", ["n", "plus_infinite"]].to_list() == [2, 2]
    assert study().n_run == 0


def test_the_outlook_says_that_runs_share_the_file_of_a_metric(study: Study) -> None:
    outlook = study(call=plan_ablation, metric_source="json:m.json:value")
    assert outlook.notes == (
        "--metric json:m.json:value reads a file that is not in {out}, the same one for all runs; "
        "if the command leaves it there, write json:{out}/... instead.",
    )
    assert study(call=plan_ablation).notes == ()
    assert study(call=plan_ablation, metric_source="regex:loss (.*)").notes == ()


def test_the_outlook_counts_the_runs_that_are_made(study: Study) -> None:
    def look(**changes: Any) -> AblationOutlook:
        found: AblationOutlook = study(call=plan_ablation, **changes)
        return found

    before = look()
    assert (before.n_wanted, before.n_found, before.is_least) == (10, 0, False)
    assert (before.n_baseline, before.n_checks) == (2, 4)
    assert math.isnan(before.seconds_each)
    assert not before.can_show
    assert (before.smallest_p, before.first_threshold) == (0.5, 0.025)
    assert study(arms=list(CUTS)[:1]).n_run == 8
    between = look()
    assert (between.n_wanted, between.n_found) == (10, 8)
    assert between.seconds_each > 0
    assert between.bytes_each > 0
    assert study().n_run == between.n_wanted - between.n_found
    assert look().n_found == 10
    assert look(seeds=range(1, before.seeds_needed + 1)).can_show
    assert not look(seeds=range(1, before.seeds_needed)).can_show
    assert look(design=DesignName.PAIRWISE).is_least


def test_the_outlook_takes_the_time_of_runs_with_other_files(study: Study, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"arms": list(CUTS)[:1], "seeds": (1,)}
    study(**asked)
    before = study(call=plan_ablation, **asked).seconds_each
    write(tmp_path / "source" / "helper.py", "SCALE = 2\n")
    after = study(call=plan_ablation, **asked)
    assert (after.n_found, after.seconds_each) == (0, pytest.approx(before))
    longer = f"{sys.executable} train.py {{seed}} {{out}} {tmp_path / 'elsewhere.txt'} --longer"
    assert math.isnan(study(call=plan_ablation, command=longer, **asked).seconds_each)


def test_the_first_failure_ends_a_study_that_asks_for_it(study: Study, tmp_path: Path) -> None:
    breaks = TRAIN.replace("noise =", "assert model.FACTOR == 3, 'no training'\nnoise =")
    write(tmp_path / "source" / "train.py", breaks)
    with pytest.raises(RunFailed) as failed:
        study(fails_fast=True)
    assert "model-factor--identity, seed " in str(failed.value)
    assert "no training" in str(failed.value)
    assert failed.value.exit_code == 1
    ended = study(call=plan_ablation).n_found
    assert ended >= 6
    assert study().n_found == ended


def test_a_script_that_seeds_itself_with_a_constant_is_found_out(
    study: Study, tmp_path: Path
) -> None:
    same = TRAIN.replace("random.Random(int(sys.argv[1])).random()", "random.random()")
    write(tmp_path / "source" / "train.py", same.replace("noise =", "random.seed(7)\nnoise ="))
    with pytest.raises(UsageError) as refused:
        study()
    words = str(refused.value)
    assert "same numbers under seeds 1 and 2: the script seeds itself with random.seed(7)" in words
    one, two = values(study(reseeds=True))["baseline"]
    assert one != two


def test_a_command_that_does_not_execute_what_is_edited_is_said_by_its_baseline(
    study: Study, tmp_path: Path
) -> None:
    train = TRAIN.replace("import model\n", "class model:\n    FACTOR, OFFSET = 3, 1\n")
    write(tmp_path / "source" / "train.py", train)
    with pytest.raises(UsageError, match=r"the command never executes .*model\.py, which variants"):
        study()


def test_more_runs_at_a_time_than_the_memory_holds_are_refused(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "antifragile.ablate.study.running.first.available_memory", lambda: 3 * 2**20
    )
    with pytest.raises(UsageError) as refused:
        study(workers=2)
    words = r"a run takes 0\.\d GiB, and 2 at a time more than the 0\.0 GiB that are free; give --w"
    assert re.match(words, str(refused.value))
    assert study(workers=1).n_found == 1


def test_a_model_that_was_changed_since_is_refused(study: Study, tmp_path: Path) -> None:
    write(tmp_path / "source" / "model.py", MODEL.replace("3", "5"))
    with pytest.raises(UsageError) as refused:
        study()
    assert "model.py was changed after the variants were generated" in str(refused.value)
