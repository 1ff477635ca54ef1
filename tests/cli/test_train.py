"""The two files of ``train`` belong together, whatever killed it and whoever copied or edited."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antifragile import _files
from antifragile.engine import checkpoint
from antifragile.study.single import trial
from tests.cli.commands import Said, contents, run_here
from tests.cli.conftest import Cli

STORED = Path(__file__).parents[1] / "fixtures" / "stored_by_0_1" / "trained"
TRAIN = ("train", "--dataset", "tiny", "--arch", "1*4")
FAST = ("--learning-rate", "0.05", "--batch-size", "8")
Values = dict[str, Any]


class Killed(BaseException):
    """The end of a process, which no handler of ours may see."""


def train(folder: Path, meta_loops: int, *more: str, resume: bool = True) -> Said:
    words = (*TRAIN, *FAST, "--meta-loops", meta_loops, "--out", "t", *more)
    return run_here(folder, *words, *(["--resume"] if resume else []))


def story_of(folder: Path) -> Values:
    story: Values = json.loads((folder / "t" / "lkg.json").read_text())
    for record in story["records"]:
        del record["seconds"]
    return story


def edit(path: Path, change: Callable[[Values], object]) -> None:
    story = json.loads(path.read_text())
    change(story)
    path.write_text(json.dumps(story))


def kill_before_write(
    number: int, monkeypatch: pytest.MonkeyPatch, *, every_s: float = -1.0
) -> None:
    """End before a write; one saving after every meta-loop, unless told otherwise."""
    written = []

    def write(path: Path, content: bytes, **options: bool) -> None:
        if len(written) == number:
            raise Killed
        written.append(path.name)
        _files.write_atomically(path, content, **options)

    monkeypatch.setattr(trial, "_WRITE_EVERY_S", every_s)
    for module in (trial, checkpoint):
        monkeypatch.setattr(module, "write_atomically", write)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three meta-loops in one mode and two in another, each run by one command."""
    folder = tmp_path_factory.mktemp("whole")
    assert train(folder, 3, "--mode", "hidden").code == 0
    assert train(folder, 2, "--mode", "none").code == 0
    return folder


@pytest.fixture
def trained(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole / "t", tmp_path / "t")
    return tmp_path


def is_refused(folder: Path, message: str, *, meta_loops: int = 2) -> bool:
    before = contents(folder)
    said = train(folder, meta_loops)
    assert (said.code, contents(folder)) == (2, before), said
    assert said.is_one_error()
    assert message in said.err
    return True


# Each saving writes the story and the weights, each command the story once more.
@pytest.mark.parametrize("number", range(9))
def test_a_kill_before_any_write_changes_nothing_in_the_end(
    number: int, whole: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_before_write(number, patch)
        with pytest.raises(Killed):
            train(tmp_path, 3, "--mode", "hidden")
    assert train(tmp_path, 3, "--mode", "hidden").code == 0
    with pytest.MonkeyPatch.context() as patch:
        kill_before_write(min(number, 6), patch)
        with pytest.raises(Killed):
            train(tmp_path, 2)
    assert train(tmp_path, 2).code == 0
    assert story_of(tmp_path) == story_of(whole)
    weights = [folder / "t" / "lkg.safetensors" for folder in (tmp_path, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("number", range(2, 9))
def test_a_killed_trial_that_goes_on_in_another_mode_has_true_segments(
    number: int, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_before_write(number, patch)
        with pytest.raises(Killed):
            train(tmp_path, 60000, "--mode", "hidden")
    n_before = number // 2
    assert [item["last"] for item in story_of(tmp_path)["segments"]] == [n_before + number % 2]
    assert train(tmp_path, 2, "--mode", "none").code == 0
    assert story_of(tmp_path)["segments"] == [
        {"mode": "hidden", "first": 1, "last": n_before},
        {"mode": "none", "first": n_before + 1, "last": n_before + 2},
    ]
    assert len(story_of(tmp_path)["records"]) == n_before + 2


def test_a_kill_before_the_first_weights_starts_anew_but_only_if_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_before_write(1, patch)
        with pytest.raises(Killed):
            train(tmp_path, 3)
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["lkg.json"]
    said = train(tmp_path, 3, resume=False)
    assert said.code == 2
    assert "t already holds a trained network; add --resume to go on with it" in said.err
    caplog.clear()
    assert train(tmp_path, 3).code == 0
    assert caplog.messages == ["nothing to resume in t yet; the trial starts."]


def test_the_first_meta_loop_is_saved_at_once(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_before_write(2, patch, every_s=1000.0)
        with pytest.raises(Killed):
            train(tmp_path, 3)
    assert (story_of(tmp_path)["meta_loop"], story_of(tmp_path)["weights_before"]) == (1, 0)
    assert "meta-loop 1:" not in train(tmp_path, 3).err


def test_a_trial_that_has_all_its_meta_loops_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert train(tmp_path, 2).code == 0
    caplog.clear()
    before = contents(tmp_path)
    assert train(tmp_path, 2).code == 0
    assert "t already has its 2 meta-loops in mode 'none'; a larger --meta-loops" in caplog.text
    assert contents(tmp_path).keys() == before.keys()


def test_trained_weights_are_not_initialised_by_a_later_mode(tmp_path: Path) -> None:
    assert train(tmp_path, 2, "--mode", "hidden+initialisation=he").code == 0
    assert train(tmp_path, 2, "--mode", "none+initialisation=he").code == 0
    said = train(tmp_path, 2, "--mode", "none+initialisation=pytorch")
    assert said.code == 2
    assert "'none+initialisation=pytorch' cannot decide its first weights" in said.err


def test_a_story_without_its_weights_is_refused(trained: Path) -> None:
    (trained / "t" / "lkg.safetensors").unlink()
    assert is_refused(
        trained,
        "t/lkg.json tells of 5 meta-loops, but their weights are lost: t/lkg.safetensors is "
        "missing; put it back, or start anew in another folder with --out.",
    )


@pytest.mark.parametrize("number", range(2, 8))
def test_so_is_one_that_a_kill_left(number: int, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_before_write(number, patch)
        with pytest.raises(Killed):
            train(tmp_path, 60)
    (tmp_path / "t" / "lkg.safetensors").unlink()
    if number > 2:
        assert is_refused(tmp_path, "but their weights are lost", meta_loops=60)
    else:  # the only meta-loop is run again
        assert train(tmp_path, 2).code == 0


def test_so_is_one_of_an_earlier_version(cli: Cli, home: Path) -> None:
    shutil.copytree(STORED, home / "t")
    (home / "t" / "lkg.safetensors").unlink()
    said = cli(*TRAIN, "--meta-loops", 5, "--out", "t", "--resume")
    assert said.code == 2
    assert "t/lkg.json tells of 3 meta-loops, but their weights are lost" in said.err


def test_files_of_two_moments_are_refused(trained: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (trained / "t").iterdir()}
    assert train(trained, 4).code == 0
    after = {path.name: path.read_bytes() for path in (trained / "t").iterdir()}
    (trained / "t" / "lkg.json").write_bytes(before["lkg.json"])
    assert is_refused(
        trained,
        "t/lkg.json and t/lkg.safetensors do not belong together (the story tells of 5 meta-loops, "
        "the weights are of meta-loop 7); restore the two as one command left them, or start anew "
        "in another folder with --out.",
        meta_loops=6,
    )
    (trained / "t" / "lkg.json").write_bytes(after["lkg.json"])
    (trained / "t" / "lkg.safetensors").write_bytes(before["lkg.safetensors"])
    assert is_refused(trained, "tells of 7 meta-loops, the weights are of meta-loop 5")


EDITS: list[tuple[Callable[[Values], object], str]] = [
    (lambda s: s["records"][0].update(validation_correct=9), "records[0] has a bounty that its co"),
    (lambda s: s["records"][1].update(promoted=not s["records"][1]["promoted"]), "records[1] has"),
    (lambda s: s["records"][4].update(bounty=11), "records[4] has a bounty that its counts do not"),
    (lambda s: s["records"][4].update(train_loss=0.5), "digest is not the one of its segments and"),
    (lambda s: s["records"][4].update(ablated_layer=0), "digest is not the one of its segments"),
    (lambda s: s["records"].pop(), "records are 4 of 5"),
    (lambda s: s["records"].pop(1), "records are 4 of 5"),
    (lambda s: (s["records"].pop(1), s.update(meta_loop=4)), "records[1] is of meta-loop 3, exp"),
    (lambda s: s["records"].insert(1, s["records"][1]), "records are 6 of 5"),
    (lambda s: s["records"].__setitem__(2, s["records"][1]), "records[2] is of meta-loop 2, expec"),
    (lambda s: s.update(records=[]), "records are 0 of 5"),
    (lambda s: s.update(records=[], segments=[], meta_loop=0), "do not cover meta-loops 1 to 0"),
    (lambda s: s["segments"][1].update(mode="hidden"), "digest is not the one of its segments"),
    (lambda s: s["segments"][0].update(last=2), "segments do not cover meta-loops 1 to 5"),
    (lambda s: s["segments"].pop(), "segments do not cover meta-loops 1 to 5"),
    (lambda s: s["segments"][1].update(first=5), "segments do not cover meta-loops 1 to 5"),
    (lambda s: s["segments"][1].update(last=60), "digest is not the one of its segments"),
    (lambda s: s.update(fingerprint="0" * 64), "digest is not the one of its segments"),
    (lambda s: s.update(digest="0" * 64), "digest is not the one of its segments"),
    (lambda s: s.pop("digest"), "lacks 'digest'"),
    (lambda s: s.update(weights_before="x"), "weights_before is 'x'; expected a whole number"),
]


@pytest.mark.parametrize(("change", "message"), EDITS)
def test_an_edited_story_is_refused(
    change: Callable[[Values], object], message: str, trained: Path
) -> None:
    edit(trained / "t" / "lkg.json", change)
    assert is_refused(trained, message)


def test_an_edited_story_that_claims_to_be_old_is_refused(trained: Path) -> None:
    def change(story: Values) -> None:
        for key in ("fingerprint", "digest", "weights_before"):
            del story[key]
        story["segments"][1]["mode"] = "output"

    edit(trained / "t" / "lkg.json", change)
    assert is_refused(trained, "(the weights were written with another story)")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (("--seed", "7"), "(the story is of another trial)"),
        (("--mode", "output"), "(the weights "),  # the same trial, but for the mode
    ],
)
def test_the_story_of_another_trial_is_refused(
    other: tuple[str, ...], message: str, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert train(elsewhere, 5, *other).code == 0
    shutil.copy(elsewhere / "t" / "lkg.json", trained / "t" / "lkg.json")
    assert is_refused(trained, message)


def test_a_story_of_an_earlier_version_is_cut_to_what_was_run(cli: Cli, home: Path) -> None:
    shutil.copytree(STORED, home / "t")
    edit(home / "t" / "lkg.json", lambda story: story["segments"][0].update(last=60000))
    said = cli(*TRAIN, "--mode", "output", "--meta-loops", 2, "--out", "t", "--resume")
    assert said.code == 0, said.err
    assert json.loads((home / "t" / "lkg.json").read_text())["segments"] == [
        {"mode": "none", "first": 1, "last": 3},
        {"mode": "output", "first": 4, "last": 5},
    ]


def test_one_that_a_kill_left_ahead_of_its_weights_goes_on(cli: Cli, home: Path) -> None:
    shutil.copytree(STORED, home / "t")

    def run_ahead(story: Values) -> None:
        story["records"] += [story["records"][2] | {"meta_loop": 4}]
        story["meta_loop"] = 4
        story["segments"] = [
            {"mode": "none", "first": 1, "last": 60},
            {"mode": "output", "first": 3, "last": 70},
            {"mode": "hidden", "first": 3, "last": 80},
        ]

    edit(home / "t" / "lkg.json", run_ahead)
    said = cli(*TRAIN, "--mode", "hidden", "--meta-loops", 3, "--out", "t", "--resume")
    assert said.code == 0, said.err
    story = json.loads((home / "t" / "lkg.json").read_text())
    assert [record["meta_loop"] for record in story["records"]] == [1, 2, 3, 4, 5]
    assert story["segments"] == [
        {"mode": "none", "first": 1, "last": 2},
        {"mode": "hidden", "first": 3, "last": 5},
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["records"][0].update(validation_correct=9), "records[0] has a bounty that"),
        (lambda s: s["records"].pop(1), "records are 2 of 3"),
        (lambda s: s.update(records=s["records"][:2], meta_loop=2), "of 2 meta-loops, the weights"),
        (lambda s: [r.update(bounty=1) for r in s["records"]], "records[0] has a bounty that"),
        (
            lambda s: [r.update(bounty=1, validation_correct=1) for r in s["records"]],
            "(the weights have another bounty or last count than the story tells)",
        ),
    ],
)
def test_an_edited_story_of_an_earlier_version_is_refused(
    change: Callable[[Values], object], message: str, cli: Cli, home: Path
) -> None:
    shutil.copytree(STORED, home / "t")
    edit(home / "t" / "lkg.json", change)
    said = cli(*TRAIN, "--meta-loops", 5, "--out", "t", "--resume")
    assert said.code == 2
    assert said.is_one_error()
    assert message in said.err
