"""A study of variants: pairs equal to the bit, nothing twice, failures alone, rows repeated."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.frameworks.torch.framework import TORCH
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.child.metrics import checked_metrics
from antifragile.ablate.study.experiment import Experiment
from antifragile.ablate.study.folder import choose_arms, read_ablation_folder
from antifragile.ablate.study.repeat import differences
from antifragile.ablate.study.request import AblationRequest, TrainingProtocol
from antifragile.ablate.study.results import read_results
from antifragile.ablate.study.server import StudyProcesses, training_modules
from antifragile.ablate.study.study import AblationOutcome, run_ablation
from antifragile.errors import UsageError
from antifragile.store.ablation import AblationStore
from tests.ablate.study.small_study import (
    CUTS,
    EXPERIMENT,
    MODEL,
    make_folder,
    recertify,
    write,
)

Run = Callable[..., AblationOutcome]
SEEDS = (1, 2, 3)
PROBE = """\
import random

import numpy
import torch


def run(build_model, seed, data_order_seed):
    model = build_model()
    twin = build_model()
    state, same = model.state_dict(), twin.state_dict()
    metrics = {name: float(value.sum()) for name, value in state.items()}
    metrics["twin"] = float(all(torch.equal(state[k], same[k]) for k in state))
    metrics["stream"] = float(torch.rand(()) + numpy.random.rand() + random.random())
    metrics["seed"], metrics["order"] = seed, data_order_seed
    return metrics
"""


def request_of(variants: Path, experiment: Path, **changes: Any) -> AblationRequest:
    folder = read_ablation_folder(variants)
    chosen: dict[str, Any] = {
        "name": "made",
        "experiment": Experiment.from_file(f"{experiment}:run"),
        "arms": [arm.name for arm in folder.arms],
        "seeds": SEEDS,
    }
    return AblationRequest(**(chosen | changes))


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run in the folder's own store, all studies of this module on one server."""
    with Server(workers=2, limits=Limits(timeout_s=300), preload=training_modules(TORCH)) as server:

        def run_it(place: Path, experiment: Path | None = None, **changes: Any) -> AblationOutcome:
            store, variants = changes.pop("store", "study.db"), place / "variants"
            where = experiment or place / "source" / "experiment.py"
            limits = changes.pop("limits", None)
            request = request_of(variants, where, **changes)
            with AblationStore(str(place / store)) as opened:
                folder = read_ablation_folder(variants)
                shared = server if limits is None else None
                processes = StudyProcesses(server=shared, limits=limits)
                return run_ablation(request, folder, opened, processes=processes)

        yield run_it


def metrics_of(
    outcome: AblationOutcome, arm: str, role: str = "run"
) -> dict[int, dict[str, float]]:
    ablated = (arm,) if arm else ()
    return {
        r.seed: r.metrics or {}
        for r in outcome.manifest.runs
        if (r.ablated, r.role, r.protocol) == (ablated, role, "retrain")
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, run: Run) -> tuple[Path, AblationOutcome]:
    place = tmp_path_factory.mktemp("ablation")
    make_folder(place)
    return place, run(place, protocols=tuple(TrainingProtocol))


def test_every_pair_of_both_protocols_runs_once(study: tuple[Path, AblationOutcome]) -> None:
    _, outcome = study
    n, arms = len(SEEDS), len(CUTS)
    retrain, post_hoc = n * (1 + arms), n * (1 + arms)
    assert outcome.n_run == retrain + post_hoc + 2 + n  # two repeats, a placebo a seed
    assert (outcome.n_found, outcome.n_failed) == (0, 0)
    results = read_results(outcome.manifest)
    assert results.repeats == (2, 2)
    assert [set(p.judged.table["n"]) for p in results.protocols] == [{n}, {n}]
    assert results.rank is not None
    assert results.rank.n_targets == arms


def test_the_placebo_differs_and_the_repeat_does_not(
    study: tuple[Path, AblationOutcome],
) -> None:
    _, outcome = study
    baseline = metrics_of(outcome, "")
    again, placebo = metrics_of(outcome, "", "repeat"), metrics_of(outcome, "", "placebo")
    assert again == {seed: baseline[seed] for seed in SEEDS[:2]}
    assert all(placebo[seed] != baseline[seed] for seed in SEEDS)


def test_post_hoc_of_the_baseline_is_the_trained_baseline(
    study: tuple[Path, AblationOutcome],
) -> None:
    _, outcome = study
    runs = outcome.manifest.runs
    post_hoc = {r.seed: r.metrics for r in runs if r.protocol == "post-hoc" and not r.ablated}
    assert post_hoc == metrics_of(outcome, "")


def test_what_cuts_the_same_gives_the_same(study: tuple[Path, AblationOutcome]) -> None:
    """`extra` as identity doubles x, a cut branch leaves it; both lose the same parameters."""
    _, outcome = study
    branch = metrics_of(outcome, "model-extra--remove-branch")
    identity = metrics_of(outcome, "model-extra--identity")
    assert branch != identity
    assert branch != metrics_of(outcome, "")


def test_a_second_call_runs_nothing(study: tuple[Path, AblationOutcome], run: Run) -> None:
    place, outcome = study
    again = run(place, protocols=tuple(TrainingProtocol))
    assert (again.n_run, again.n_found) == (0, outcome.n_run)
    assert {r.key for r in again.manifest.runs} == {r.key for r in outcome.manifest.runs}


def test_further_seeds_run_alone(study: tuple[Path, AblationOutcome], run: Run) -> None:
    place, _ = study
    more = run(place, seeds=(*SEEDS, 4))
    assert more.n_run == 1 + len(CUTS) + 1  # baseline, arms, placebo


def test_damaged_trained_values_are_not_used(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path)
    both, arm = tuple(TrainingProtocol), "model-tanh--identity"

    def numbers(**changes: Any) -> tuple[dict[str, Any], AblationOutcome]:
        outcome = run(tmp_path, seeds=(1,), arms=[arm], protocols=both, **changes)
        ended = [r for r in outcome.manifest.runs if r.protocol == "post-hoc"]
        return {r.label: r.metrics for r in ended}, outcome

    expected, _ = numbers()
    (kept,) = (tmp_path / "study.db.files").rglob("*.safetensors")
    content = kept.read_bytes()

    def again() -> tuple[dict[str, Any], AblationOutcome]:
        """Run the post-hoc part anew, which the store forgets."""
        with sqlite3.connect(tmp_path / "study.db") as database:
            database.execute("DELETE FROM ablation_runs WHERE protocol = 'post-hoc'")
        return numbers()

    kept.write_bytes(content[:-64] + bytes(64))
    found, outcome = again()
    assert found == expected
    (note,) = outcome.notes
    assert f"seed 1 is trained again: {kept} is damaged" in note
    (mended,) = (tmp_path / "study.db.files").rglob("*.safetensors")
    assert mended.read_bytes() == content
    found, outcome = again()
    assert (found, outcome.notes) == (expected, ())
    mended.unlink()
    found, outcome = again()
    assert found == expected
    assert "trained values are not beside the store" in outcome.notes[0]
    (kept,) = (tmp_path / "study.db.files").rglob("*.safetensors")
    kept.rename(kept.with_name(f"{kept.stem.partition('-')[0]}.safetensors"))  # as once
    found, outcome = again()
    assert (found, outcome.notes) == (expected, ())


def test_rows_repeat_from_the_manifest_in_a_new_store(
    study: tuple[Path, AblationOutcome], run: Run
) -> None:
    place, outcome = study
    some = run(place, arms=["model-gate--identity"], store="again.db")
    compared, found = differences(some.manifest, outcome.manifest)
    assert (compared, found) == (some.n_run, [])
    first, *others = outcome.manifest.runs
    changed = replace(first, metrics={"accuracy": 0.0, "loss": 0.0})
    then = replace(outcome.manifest, runs=(changed, *others))
    assert len(differences(some.manifest, then)[1]) == 1


def test_survivors_start_the_same_and_streams_do_not_shift(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path)
    write(tmp_path / "probe.py", PROBE)
    arm = "model-extra--identity"  # draws fewer numbers while it is built
    outcome = run(tmp_path, tmp_path / "probe.py", arms=[arm], metric="stream")
    baseline, ablated = metrics_of(outcome, ""), metrics_of(outcome, arm)
    for seed in SEEDS:
        survivors = {k: v for k, v in baseline[seed].items() if not k.startswith("extra")}
        assert ablated[seed] == survivors
        assert baseline[seed]["last.bias"] == 1.0  # the author's own initialisation
        assert baseline[seed]["twin"] == 1.0
    assert len({m["first.weight"] for m in baseline.values()}) == len(SEEDS)
    assert len({m["order"] for m in baseline.values()}) == len(SEEDS)


def test_blocks_in_a_python_list_survive_too(tmp_path: Path, run: Run) -> None:
    """No `state_dict` knows them; both protocols must."""
    hidden = "self.first = nn.Linear(4, 8)\n        self.hidden = [nn.Linear(8, 8)]"
    model = MODEL.replace("self.first = nn.Linear(4, 8)", hidden)
    model = model.replace("return self.last(h)", "return self.last(self.hidden[0](h))")
    make_folder(tmp_path, model=model)
    text = EXPERIMENT.replace(
        "    model = build_model()\n",
        "    model = build_model()\n    start = float(model.hidden[0].weight.sum())\n",
    ).replace(
        "return evaluate(model, seed, data_order_seed)",
        "return evaluate(model, seed, data_order_seed) | {'start': start}",
    )
    text = text.replace("[p for p in model.parameters() if p.requires_grad]", "parameters(model)")
    text += "\n\ndef parameters(model):\n"
    text += "    return [*model.parameters(), *model.hidden[0].parameters()]\n"
    write(tmp_path / "listed.py", text)
    arm = "model-extra--identity"  # draws fewer numbers before the hidden block
    outcome = run(tmp_path, tmp_path / "listed.py", arms=[arm], protocols=tuple(TrainingProtocol))
    baseline, cut = metrics_of(outcome, ""), metrics_of(outcome, arm)
    assert [cut[s]["start"] for s in SEEDS] == [baseline[s]["start"] for s in SEEDS]
    post_hoc = [
        (r.seed, (r.metrics or {})["loss"])
        for r in outcome.manifest.runs
        if r.protocol == "post-hoc" and not r.ablated
    ]
    assert dict(post_hoc) == {seed: metrics["loss"] for seed, metrics in baseline.items()}


def test_failures_are_kept_with_their_reason_and_tried_again_alone(
    tmp_path: Path, run: Run
) -> None:
    variants = make_folder(tmp_path)
    broken = variants / "model-gate--identity" / "model.py"
    text = broken.read_text()
    line = "    def forward(self, x):\n"
    write(broken, text.replace(line, line + "        raise ValueError('no gate')\n"))
    recertify(variants)
    arms = ["model-gate--identity", "model-tanh--identity"]
    outcome = run(tmp_path, arms=arms)
    assert outcome.n_failed == len(SEEDS)
    results = read_results(outcome.manifest)
    assert {run.label for run in results.failures} == {"model-gate--identity"}
    assert "raised ValueError: no gate" in str(results.failures[0].failure)
    assert list(results.protocols[0].judged.table["target"]) == ["model-tanh--identity"]
    again = run(tmp_path, arms=arms)
    assert (again.n_run, again.n_failed) == (len(SEEDS), len(SEEDS))
    write(broken, text)
    recertify(variants)
    mended = run(tmp_path, arms=arms)
    assert (mended.n_run, mended.n_failed) == (len(SEEDS), 0)


@pytest.mark.slow
def test_a_run_that_never_ends_is_ended(tmp_path: Path, run: Run) -> None:
    variants = make_folder(tmp_path)
    hanging = variants / "model-gate--identity" / "model.py"
    line = "    def forward(self, x):\n"
    write(hanging, MODEL.replace(line, line + "        while True:\n            pass\n"))
    recertify(variants)
    limits = Limits(timeout_s=20)
    outcome = run(tmp_path, arms=["model-gate--identity"], seeds=(1,), limits=limits)
    (failure,) = read_results(outcome.manifest).failures
    assert "did not end within 20 s" in str(failure.failure)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def run(build_model, seed, data_order_seed):\n    return 3\n", "must return numbers by"),
        ("def run(build_model, seed, data_order_seed):\n    return {'a': 'x'}\n", "'a' must be a"),
        (
            "def run(build_model, seed, data_order_seed):\n    return {'a': float('nan')}\n",
            "metric 'a' is nan, the training diverged",
        ),
        ("def run(build_model):\n    return {'a': 1}\n", "raised TypeError: run"),
        ("def run(build_model, seed, data_order_seed):\n    1 / 0\n", "raised ZeroDivisionError"),
        ("import nowhere_at_all\n\ndef run():\n    pass\n", "raised ModuleNotFoundError"),
    ],
)
def test_a_wrong_experiment_is_said_before_the_study(
    tmp_path: Path, text: str, message: str, run: Run
) -> None:
    make_folder(tmp_path)
    write(tmp_path / "wrong.py", text)
    with pytest.raises(UsageError, match="the experiment fails on the baseline: ") as caught:
        run(tmp_path, tmp_path / "wrong.py")
    assert message in str(caught.value)


def test_a_variant_without_the_metric_is_a_row_with_the_reason(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path)
    text = EXPERIMENT.replace("return {", "return {'f1': 0.5} if cut else {")
    text = text.replace(
        "logits = model(x)", "logits = model(x)\n    cut = not hasattr(model, 'gate')"
    )
    write(tmp_path / "other.py", text)
    arms = ["model-gate--identity", "model-tanh--identity"]
    variants = tmp_path / "variants"
    cut = variants / "model-gate--identity" / "model.py"
    write(cut, cut.read_text().replace("        self.gate = nn.Linear(4, 8)\n", ""))
    recertify(variants)
    outcome = run(tmp_path, tmp_path / "other.py", arms=arms)
    results = read_results(outcome.manifest)
    assert [failed.ablated for failed in results.failures] == [("model-gate--identity",)] * len(
        SEEDS
    )
    assert "returns no metric 'accuracy'; it returns f1" in str(results.failures[0].failure)
    assert results.protocols[0].without_number == (("contribution", "model-gate--identity"),)


def test_an_infinite_metric_of_the_baseline_is_said_before_the_study(
    tmp_path: Path, run: Run
) -> None:
    make_folder(tmp_path)
    text = "def run(build_model, seed, data_order_seed):\n    return {'a': -float('inf')}\n"
    write(tmp_path / "wrong.py", text)
    with pytest.raises(UsageError, match="fails on the baseline: metric 'a' is -inf, the training"):
        run(tmp_path, tmp_path / "wrong.py")


def test_a_failed_first_run_leaves_the_older_manifest(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path)
    arms = ["model-gate--identity"]
    run(tmp_path, seeds=(1,), arms=arms)

    def stored() -> dict[str, Any]:
        with AblationStore(str(tmp_path / "study.db"), create=False) as store:
            return store.manifest("made")

    before = stored()
    write(tmp_path / "wrong.py", "def run(build_model, seed, data_order_seed):\n    1 / 0\n")
    with pytest.raises(UsageError, match="fails on the baseline"):
        run(tmp_path, tmp_path / "wrong.py", seeds=(1,), arms=arms)
    with pytest.raises(UsageError, match="returns no metric 'f1'"):
        run(tmp_path, metric="f1", seeds=(1,), arms=arms)
    assert stored() == before


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 0.5, "1": 0.7}, "the name of a metric must be a text; got 1"),
        ({"x" * 201: 0.5}, "the name of a metric has 201 characters; use at most 200"),
        ({"a": True}, "metric 'a' must be a number; got bool True"),
        ({"a": "0.7"}, "metric 'a' must be a number; got str '0.7'"),
        ({"a": b"0.5"}, "metric 'a' must be a number; got bytes b'0.5'"),
        ({"a": numpy.array("0.7")}, "metric 'a' must be a number; got ndarray"),
        ({"a": numpy.bool_(True)}, "metric 'a' must be a number; got bool"),
        ({"a": torch.tensor(True)}, "metric 'a' must be a number; got Tensor"),
        ({"a": torch.ones(2)}, "metric 'a' must be a number; got Tensor"),
        ({"a": 1 + 2j}, "metric 'a' must be a number; got complex"),
        ({"a": 10**400}, "metric 'a' must be a number; got int 1000"),
    ],
)
def test_names_are_text_and_values_are_numbers(value: object, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        checked_metrics(value)
    assert str(caught.value).startswith(message)


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    value = torch.tensor([0.5])
    given = {"a": value, "b": torch.tensor(3), "c": numpy.float32(0.5), "d": numpy.int64(2), "e": 1}
    assert checked_metrics(given) == {"a": 0.5, "b": 3.0, "c": 0.5, "d": 2.0, "e": 1.0}


def test_a_metric_or_function_that_is_not_there_is_said(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path)
    with pytest.raises(UsageError, match="returns no metric 'f1'; it returns accuracy, loss"):
        run(tmp_path, metric="f1", seeds=(1,))
    write(tmp_path / "bare.py", "def run(build_model, seed, data_order_seed):\n    return {}\n")
    with pytest.raises(UsageError, match=r"bare\.py has no function 'evaluate'"):
        run(tmp_path, tmp_path / "bare.py", protocols=(TrainingProtocol.POST_HOC,))
    with pytest.raises(UsageError, match="--adaptive is for leave-one-out"):
        run(tmp_path, looks=(3, 4), design=DesignName.PAIRWISE)


@pytest.mark.slow
def test_pairs_are_combined_in_the_source_and_run(tmp_path: Path, run: Run) -> None:
    variants = make_folder(tmp_path)
    arms = ["model-extra--remove-branch", "model-gate--identity", "model-tanh--identity"]
    outcome = run(tmp_path, arms=arms, seeds=(1, 2), design=DesignName.PAIRWISE)
    assert outcome.n_failed == 0
    table = read_results(outcome.manifest).protocols[0].judged.table
    assert table.groupby("question").size().to_dict() == {
        "contribution": 3,
        "interaction": 3,
        "joint contribution": 3,
    }
    combined = list((variants / "combinations").iterdir())
    texts = {(place / "model.py").read_text() for place in combined}
    assert any("h = self.first(x)\n" in text for text in texts)


def test_clashing_ablations_are_refused_before_anything_runs(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path)
    arms = ["model-extra--remove-branch", "model-extra--remove-skip"]
    with pytest.raises(UsageError, match=r"change the same place \(model.py, line 15\)"):
        run(tmp_path, arms=arms, design=DesignName.FACTORIAL)
    folder = read_ablation_folder(tmp_path / "variants")
    kept = choose_arms(folder, DesignName.FACTORIAL, ["model-extra", "model-gate"], [])
    assert kept == ["model-extra--identity", "model-gate--identity"]


def test_only_certified_variants_become_arms(tmp_path: Path) -> None:
    folder = read_ablation_folder(make_folder(tmp_path))
    assert [arm.name for arm in folder.arms] == list(CUTS)
    assert folder.left_out == (("model-last zero", "refused: no edit"),)
    assert [arm.name for arm in folder.arms if arm.is_inactive] == ["model-extra--remove-skip"]


@pytest.mark.parametrize("pattern", ["model-last", "model-last--zero", "*last*"])
def test_a_variant_without_a_certificate_is_no_typo(tmp_path: Path, pattern: str) -> None:
    folder = read_ablation_folder(make_folder(tmp_path))
    with pytest.raises(UsageError) as caught:
        choose_arms(folder, DesignName.LEAVE_ONE_OUT, [pattern], [])
    assert str(caught.value) == (
        f"--only '{pattern}' fits no certified variant of {tmp_path / 'variants'}: "
        "model-last zero refused: no edit."
    )


def test_patterns_that_fit_nothing_and_folders_of_others_are_refused(tmp_path: Path) -> None:
    folder = read_ablation_folder(make_folder(tmp_path))
    with pytest.raises(UsageError, match="'conv\\*' fits none of the 5 certified variants"):
        choose_arms(folder, DesignName.LEAVE_ONE_OUT, ["conv*"], [])
    with pytest.raises(UsageError, match="its kinds are: identity, remove-branch, remove-skip"):
        choose_arms(folder, DesignName.LEAVE_ONE_OUT, [], ["zero"])
    with pytest.raises(UsageError, match=r"holds no generated variants \(no ablations.json\)"):
        read_ablation_folder(tmp_path)
    (tmp_path / "variants" / "model-gate--identity" / "model.py").unlink()
    with pytest.raises(UsageError, match=r"model-gate--identity: model.py is missing; bring the"):
        read_ablation_folder(tmp_path / "variants")
