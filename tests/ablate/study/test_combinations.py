"""Combinations are certified before they are run: legal parts need not be legal together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.frameworks.torch.framework import TORCH
from antifragile.ablate.records import CertificateVerdict
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.experiment import Experiment
from antifragile.ablate.study.folder import AblationFolder, Arm, read_ablation_folder
from antifragile.ablate.study.request import AblationRequest
from antifragile.ablate.study.results import read_results
from antifragile.ablate.study.running.combinations import Combinations, joint_delta
from antifragile.ablate.study.server import (
    StudyProcesses,
    open_study_copies,
    training_modules,
)
from antifragile.ablate.study.study import AblationOutcome, run_ablation
from antifragile.errors import StoreError, UsageError
from antifragile.store.ablation import AblationStore
from tests.ablate.study.small_study import make_folder, recertify, written

Run = Callable[..., AblationOutcome]
Certifying = Callable[[], Combinations]
MODEL = """\
import torch
from torch import nn

WIDTH = 8


class Nothing(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, WIDTH)
        self.branch = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, 2)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        h = h + self.branch(h)
        return self.last(h)


def build():
    return Model()


def inputs():
    return (torch.randn(3, 4),)
"""
BRANCH, SKIP = "model-branch--zero", "model-sum--remove-skip"
WIDTH, LAST, TANH = "model-width--shrink", "model-last--identity", "model-tanh--identity"
SUM = "h = h + self.branch(h)"
CUTS = {
    BRANCH: ("self.branch = nn.Linear(WIDTH, WIDTH)", "self.branch = Nothing()"),
    SKIP: (SUM, "h = self.branch(h)"),
    "model-sum--remove-branch": (SUM, "h = h"),
    WIDTH: ("WIDTH = 8", "WIDTH = 4"),
    LAST: ("self.last = nn.Linear(WIDTH, 2)", "self.last = nn.AvgPool1d(4, 4)"),
    TANH: ("torch.tanh(self.first(x))", "self.first(x)"),
}
DELTAS = {BRANCH: -72, WIDTH: -20 - 52 - 8, LAST: -18}
CUT = {
    BRANCH: ("branch.weight", "branch.bias"),
    LAST: ("last.weight", "last.bias"),
    "model-sum--remove-branch": ("branch.weight", "branch.bias"),
}


@pytest.fixture
def variants(tmp_path: Path) -> Path:
    """A folder whose index says of each variant alone what is true of it."""
    out = make_folder(tmp_path, model=MODEL, cuts=CUTS)
    index = json.loads((out / "ablations.json").read_text())
    for variant, certificate in zip(index["variants"], index["certificates"], strict=True):
        name = variant["folder"]
        variant["cut_parameters"] = list(CUT.get(name, ()))
        certificate["parameter_delta"] = DELTAS.get(name, 0)
        is_detached = name == "model-sum--remove-branch"
        certificate["without_gradient"] = list(CUT[name]) if is_detached else []
        if name:
            (out / name / "certificate.json").write_text(json.dumps(certificate))
            (out / name / "variant.toml").unlink()
    (out / "ablations.json").write_text(json.dumps(index))
    return out


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """The one that trains and the one that certifies, for all tests of this module."""
    with (
        Server(workers=2, preload=training_modules(TORCH)) as server,
        open_server(workers=2) as certifier,
    ):
        yield server, certifier


@pytest.fixture
def run(variants: Path, servers: tuple[Server, Server]) -> Run:
    return partial(run_it, variants, servers)


@pytest.fixture
def certifying(variants: Path, servers: tuple[Server, Server]) -> Iterator[Certifying]:
    with open_study_copies(read_ablation_folder(variants)) as copies:
        yield lambda: Combinations(read_ablation_folder(variants), copies, lambda: servers[1])


def run_it(
    variants: Path,
    servers: tuple[Server, Server],
    *arms: str,
    design: DesignName = DesignName.PAIRWISE,
    seeds: Sequence[int] = (1, 2),
) -> AblationOutcome:
    experiment = variants.parent / "source" / "experiment.py"
    request = AblationRequest(
        name="made",
        experiment=Experiment.from_file(f"{experiment}:run"),
        arms=arms,
        seeds=seeds,
        design=design,
    )
    with AblationStore(str(variants.parent / "study.db")) as store:
        folder = read_ablation_folder(variants)
        processes = StudyProcesses(server=servers[0], certifier=servers[1])
        return run_ablation(request, folder, store, processes=processes)


@pytest.mark.slow
def test_branch_and_skip_are_legal_alone_and_not_together(run: Run) -> None:
    outcome = run(BRANCH, SKIP, TANH)
    together = tuple(sorted([BRANCH, SKIP]))
    assert outcome.manifest.combinations is not None
    [judged] = [c for c in outcome.manifest.combinations if c.ablated == together]
    assert judged.verdict == "refused"
    assert "dead: the output no longer depends on the inputs" in judged.reason
    assert outcome.n_refused == 2
    assert outcome.n_failed == 0
    of_pair = [r for r in outcome.manifest.runs if r.ablated == together]
    assert [run.metrics for run in of_pair] == [None, None]
    results = read_results(outcome.manifest)
    assert {run.label for run in results.failures} == {" + ".join(together)}
    assert all(
        str(run.failure).startswith("not run, as the combination is refused: ")
        for run in results.failures
    )
    sizes = results.protocols[0].judged.table.groupby("question").size().to_dict()
    assert sizes == {"contribution": 3, "interaction": 2, "joint contribution": 2}


def test_a_repeated_study_lists_its_combinations_in_the_same_order(run: Run) -> None:
    """The first run certifies some of them and refuses others; the second finds all of them."""
    arms = (LAST, BRANCH, SKIP)
    first, second = (run(*arms, seeds=(1,)).manifest.combinations or () for _ in range(2))
    assert first == second
    assert [c.ablated for c in first] == sorted(c.ablated for c in first)


def test_what_does_not_fit_together_fails_and_is_not_run(run: Run) -> None:
    """Eight values in two windows of four give the two outputs; four values give one."""
    outcome = run(WIDTH, LAST)
    [judged] = outcome.manifest.combinations or ()
    assert judged.verdict == "failed"
    assert "the output is" in judged.reason
    assert (outcome.n_refused, outcome.n_failed) == (2, 0)


def test_a_combination_is_certified_once(variants: Path, certifying: Certifying) -> None:
    pair = frozenset([BRANCH, TANH])
    said: list[str] = []
    for _ in range(2):
        combinations = certifying()
        combinations.judge([pair, frozenset(), frozenset([BRANCH])], said.append)
        combinations.judge([pair], said.append)
        assert {c: (found.verdict, found.reason) for c, found in combinations.judged.items()} == {
            pair: (CertificateVerdict.CERTIFIED, judged_reason(variants))
        }
        assert combinations.refusal(pair) is None
    assert said == [f"{BRANCH} + {TANH}"]


@pytest.mark.slow
def test_a_changed_part_is_certified_anew(variants: Path, certifying: Certifying) -> None:
    pair, said = frozenset([BRANCH, TANH]), list[str]()
    for text in ("", "\n# one more line\n"):
        append(variants, TANH, text)
        certifying().judge([pair], said.append)
    assert len(said) == 2


def append(variants: Path, name: str, text: str) -> None:
    """Generate a variant anew with one more edit, at the end of its file."""
    file, index = variants / name / "model.py", variants / "ablations.json"
    file.write_text(file.read_text() + text)
    plain = json.loads(index.read_text())
    [variant] = [item for item in plain["variants"] if item["folder"] == name]
    end = len(MODEL)
    variant["edits"].append({"file": "model.py", "start": end, "end": end, "text": text})
    index.write_text(json.dumps(plain))
    recertify(variants)


def test_variants_of_an_older_version_are_not_combined(variants: Path) -> None:
    index = variants / "ablations.json"
    plain = json.loads(index.read_text())
    for variant in plain["variants"]:
        del variant["edits"]
    index.write_text(json.dumps(plain))
    folder = read_ablation_folder(variants)
    assert folder.place([BRANCH]).is_dir()
    with pytest.raises(StoreError, match=r"keeps no edits, .* generate the variants again"):
        folder.combination([BRANCH, TANH])


def test_edits_that_clash_are_reported_where_pairs_are_asked_one_by_one(run: Run) -> None:
    branch = "model-sum--remove-branch"
    outcome = run(branch, SKIP)
    [judged] = outcome.manifest.combinations or ()
    assert judged.verdict == "refused"
    assert "change the same place (model.py, line 21)" in judged.reason
    again = run(branch, SKIP)
    assert (again.n_run, again.n_refused) == (0, 2)


@pytest.mark.slow
def test_a_design_that_could_say_nothing_is_refused_before_it_trains(run: Run) -> None:
    with pytest.raises(UsageError, match=r"design shapley needs combinations that may not run: "):
        run(BRANCH, SKIP, design=DesignName.SHAPLEY)


@pytest.mark.slow
def test_a_path_ends_where_nothing_more_can_be_run(run: Run) -> None:
    outcome = run(BRANCH, SKIP, design=DesignName.PATH)
    [protocol] = read_results(outcome.manifest).protocols
    steps = protocol.judged.table[protocol.judged.table["question"] == "contribution"]
    assert len(steps) == 1


def test_asking_for_a_combination_writes_nothing(variants: Path) -> None:
    folder = read_ablation_folder(variants)
    place = folder.place([TANH, BRANCH])
    assert place == folder.place([BRANCH, TANH])
    assert not place.parent.exists()
    assert folder.combination([TANH, BRANCH]) == folder.combination([BRANCH, TANH])
    assert not place.parent.exists()
    assert written(folder, [TANH, BRANCH]) == place
    assert folder.sha256([BRANCH, TANH]) == folder.sha256([TANH, BRANCH])


def test_a_damaged_certificate_is_said(variants: Path, certifying: Certifying) -> None:
    folder = read_ablation_folder(variants)
    (written(folder, [BRANCH, TANH]) / "certificate.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        certifying().judge([frozenset([BRANCH, TANH])], print)


SIZES = {"a.weight": 100, "a.bias": 10, "b.weight": 7}


def arm(name: str, cut: list[str], delta: int, *, detached: bool = False) -> Arm:
    return Arm(
        name=name,
        component=name,
        kind="identity",
        cut_parameters=tuple(cut),
        detached=tuple(cut) if detached else (),
        parameter_delta=delta,
        is_inactive=False,
        sha256="",
    )


def test_what_vanishes_twice_is_counted_once() -> None:
    whole, part = arm("a", ["a.weight", "a.bias"], -110), arm("a.bias", ["a.bias"], -10)
    assert joint_delta([whole, part], SIZES) == -110
    assert joint_delta([part, arm("b", ["b.weight"], -7)], SIZES) == -17


def test_what_is_only_detached_does_not_vanish() -> None:
    detached = arm("a", ["a.weight"], 0, detached=True)
    assert joint_delta([detached, arm("b", ["b.weight"], -7)], SIZES) == -7


def test_a_substitute_inside_what_vanishes_goes_with_it() -> None:
    substituted = arm("a.bias", ["a.bias"], -10 + 3)
    assert joint_delta([substituted, arm("b", ["b.weight"], -7)], SIZES) == -7 - 10 + 3
    assert joint_delta([substituted, arm("a", ["a.weight", "a.bias"], -110)], SIZES) == -110


@given(st.sets(st.sampled_from(list(SIZES))), st.sets(st.sampled_from(list(SIZES))))
def test_plain_cuts_add_up_over_their_union(one: set[str], two: set[str]) -> None:
    arms = [arm(str(n), sorted(cut), -size(cut)) for n, cut in enumerate((one, two))]
    assert joint_delta(arms, SIZES) == -size(one | two)


def size(names: set[str]) -> int:
    return sum(SIZES[name] for name in names)


def judged_reason(variants: Path) -> str:
    folder: AblationFolder = read_ablation_folder(variants)
    place = folder.place([BRANCH, TANH])
    return str(json.loads((place / "certificate.json").read_text())["reason"])
