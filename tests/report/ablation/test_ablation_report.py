"""Reports of ablation studies: checks first, every row with its change, text escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antifragile.ablate.designs.base import BASELINE
from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.study.experiment import Experiment
from antifragile.ablate.study.folder import Arm
from antifragile.ablate.study.manifest import (
    AblationManifest,
    Machine,
    ManifestProject,
    ManifestRun,
)
from antifragile.ablate.study.request import Role, TrainingProtocol
from antifragile.ablate.study.results import read_results
from antifragile.analysis.inference.paired import Judgement
from antifragile.errors import UsageError
from antifragile.report.ablation.checks import checks_table
from antifragile.report.ablation.figure import contributions_figure, linear_range
from antifragile.report.ablation.page import write_ablation_page
from antifragile.report.ablation.tables import ablation_tables
from antifragile.report.table import as_latex, as_markdown
from antifragile.store.records import Environment

WORTH = {"big--identity": 5.0, "none--identity": 0.0, "odd<i>--zero": -0.3}
SEEDS = range(1, 11)
RETRAIN = TrainingProtocol.RETRAIN


def run_of(
    ablated: list[str],
    seed: int,
    value: float | None,
    *,
    protocol: TrainingProtocol = RETRAIN,
    role: Role = Role.RUN,
) -> ManifestRun:
    return ManifestRun(
        key=f"{ablated}{seed}{protocol}{role}",
        ablated=tuple(ablated),
        seed=seed,
        protocol=protocol,
        role=role,
        metrics=None if value is None else {"accuracy": value, "loss": -value},
        failure="run() of the experiment raised ValueError: no" if value is None else None,
        seconds=1.5,
    )


def arm_of(name: str, *, is_inactive: bool = False) -> Arm:
    component, kind = name.split("--")
    return Arm(
        name=name,
        component=component,
        kind=kind,
        cut_parameters=(),
        is_inactive=is_inactive,
        sha256="0" * 64,
    )


def runs_of(protocols: Sequence[TrainingProtocol]) -> tuple[ManifestRun, ...]:
    rng, runs = np.random.default_rng(0), []
    for protocol in protocols:
        for seed in SEEDS:
            base = 90 + seed
            runs.append(run_of([], seed, base, protocol=protocol))
            for name, worth in WORTH.items():
                value = base - worth - (0.2 * rng.normal() if worth else 0)
                runs.append(run_of([name], seed, value, protocol=protocol))
    for seed in SEEDS:
        moved = 90 + seed + 0.1 * rng.normal()
        runs.append(run_of([], seed, moved, role=Role.PLACEBO))
    return (*runs, *(run_of([], s, 90 + s, role=Role.REPEAT) for s in (1, 2)))


def made_manifest(
    *, protocols: tuple[TrainingProtocol, ...] = (RETRAIN,), **changes: Any
) -> AblationManifest:
    manifest = AblationManifest(
        name="made",
        command="antifragile ablate run variants",
        versions={"antifragile": "0", "torch": "2"},
        environment=Environment(
            kernel="experiment",
            device="cpu",
            threads=1,
            precision="fp32",
            machine="x86_64",
            torch_version="2",
        ),
        machine=Machine(platform="Linux", processors=1),
        folder="variants",
        project=ManifestProject(
            source=("model.py",), build="model.py:build", inputs="model.py:inputs", step=None
        ),
        experiment=Experiment(file="experiment.py:run", sha256="0" * 64),
        metric="accuracy",
        higher_is_better=True,
        protocols=protocols,
        design=DesignName.LEAVE_ONE_OUT,
        seeds=tuple(SEEDS),
        looks=(),
        judgement=Judgement(alpha=0.05, margin=1.0),
        baseline_sha256="0" * 64,
        arms=tuple(arm_of(name, is_inactive=name.startswith("odd")) for name in WORTH),
        left_out=(("head--identity", "refused: the shape would change"),),
        runs=runs_of(protocols),
    )
    return replace(manifest, **changes)


def words_of(manifest: AblationManifest) -> dict[str, str]:
    return {str(row[0]): str(row[1]) for row in checks_table(read_results(manifest)).rows}


def test_contributions_are_turned_so_that_above_zero_helps() -> None:
    higher = read_results(made_manifest()).protocols[0].judged.table
    lower = read_results(made_manifest(metric="loss", higher_is_better=False)).protocols[0]
    assert lower.judged.table["difference"].tolist() == pytest.approx(higher["difference"].tolist())
    assert dict(zip(higher["target"], higher["verdict"], strict=True)) == {
        "big--identity": "positive",
        "none--identity": "identical",
        "odd<i>--zero": "negative",
    }


def test_checks_come_first_and_in_words() -> None:
    words = words_of(made_manifest())
    assert words["repeat"] == "baseline run twice under 2 seeds: identical"
    assert words["placebo"].startswith("baseline in another batch order: ")
    assert words["baseline, retrain"] == "accuracy 95.5, standard deviation 3.03, 10 seeds"


def test_a_repeat_that_differs_is_said() -> None:
    *others, last = made_manifest().runs
    manifest = made_manifest(runs=(*others, replace(last, metrics={"accuracy": 1.0})))
    assert "1 differ, so the experiment is not deterministic" in words_of(manifest)["repeat"]


def test_failures_are_listed_with_their_number() -> None:
    runs = [
        replace(run, metrics=None, failure="did not end within 5 s")
        if run.ablated == ("big--identity",) and run.seed <= 3
        else run
        for run in made_manifest().runs
    ]
    manifest = made_manifest(runs=tuple(runs))
    assert words_of(manifest)["failed"] == (
        "big--identity (retrain), 3 of 10 runs: did not end within 5 s"
    )
    table = read_results(manifest).protocols[0].judged.table.set_index("target")
    assert table["n"].to_dict() == {"big--identity": 7, "none--identity": 10, "odd<i>--zero": 10}


def test_runs_that_fail_alike_in_folders_of_their_own_are_one_reason() -> None:
    def failed(run: ManifestRun) -> ManifestRun:
        place = f"/store/runs/big-seed-{run.seed}"
        said = f"the command ended with exit code 1: no {place}/out/a.txt (see {place})"
        return replace(run, metrics=None, failure=said if run.seed <= 3 else "did not end")

    runs = [failed(r) if r.ablated and r.seed <= 4 else r for r in made_manifest().runs]
    said = words_of(made_manifest(runs=tuple(runs)))["failed"]
    assert said.endswith(
        " 4 of 10 runs: the command ended with exit code 1: no {out}/a.txt "
        "(see /store/runs/big-seed-1) (3 times); did not end"
    )


def test_two_protocols_have_a_rank_correlation() -> None:
    results = read_results(made_manifest(protocols=tuple(TrainingProtocol)))
    assert results.rank is not None
    assert results.rank.low <= results.rank.rho == 1.0
    assert (
        "rank correlation of 3 contributions 1.00"
        in words_of(results.manifest)["retrain against post-hoc"]
    )


def test_a_study_without_finished_pairs_has_checks_only() -> None:
    results = read_results(made_manifest(runs=()))
    assert [table.title for table in ablation_tables(results)] == [
        "made: checks before anything else"
    ]
    with pytest.raises(UsageError, match="nothing to draw yet"):
        contributions_figure(results)


def test_tables_are_written_in_every_format() -> None:
    table = ablation_tables(read_results(made_manifest()))[1]
    assert [row[-1] for row in table.rows] == ["helps", "identical", "harms"]
    assert "| big | identity | 10 | " in as_markdown(table)
    assert r"zero (inactive at start)" in as_latex(table)
    assert any("family contribution: 2 tests, 1 identical" in note for note in table.notes)


def test_an_axis_is_stretched_only_for_outliers() -> None:
    table = read_results(made_manifest()).protocols[0].judged.table
    assert linear_range([table.assign(difference=[100.0, 1.0, 1.2])]) == 2.0
    assert linear_range([table.assign(difference=[3.0, 1.0, 1.2])]) is None
    assert linear_range([table.assign(difference=[0.0, 0.0, 0.0])]) is None


def test_the_page_has_every_change_and_is_escaped(tmp_path: Path) -> None:
    place = tmp_path / "big--identity"
    place.mkdir()
    (place / "change.diff").write_text("-    x = x + f(x)\n+    x = x </pre><script>\n")
    certificate = {"verdict": "certified", "reason": "legal", "checks": {"repeat": "bit-identical"}}
    (place / "certificate.json").write_text(json.dumps(certificate))
    manifest = made_manifest(protocols=tuple(TrainingProtocol))
    path = write_ablation_page(read_results(manifest), tmp_path / "out" / "page.html", tmp_path)
    text = path.read_text()
    assert text.count("</script>") == 2
    assert "x = x &lt;/pre&gt;&lt;script&gt;" in text
    assert 'href="../big--identity/change.diff"' in text
    assert "bit-identical" in text
    assert '<a href="#big--identity">big</a>' in text
    assert "odd&lt;i&gt;" in text
    assert "--only big--identity --store again.db" in text
    assert "refused: the shape would change" in text
    assert re.search(r'src="data:image/svg\+xml;base64,', text)


def test_pairwise_reports_say_what_is_redundant() -> None:
    names = ["a--identity", "b--identity"]
    configurations = [BASELINE, *(frozenset([n]) for n in names), frozenset(names)]
    rng = np.random.default_rng(1)
    runs = [
        run_of(sorted(c), s, (80.0 if len(c) == 2 else 90.0) + 0.1 * rng.normal())
        for c in configurations
        for s in SEEDS
    ]
    arms = tuple(arm_of(name) for name in names)
    manifest = made_manifest(runs=tuple(runs), arms=arms, design=DesignName.PAIRWISE)
    (result,) = read_results(manifest).protocols
    assert any(
        note.startswith("Redundant: a--identity alone shows nothing") for note in result.notes
    )
    titles = [table.title for table in ablation_tables(read_results(manifest))]
    assert titles[1:] == [
        "made: contribution, retrain, accuracy",
        "made: joint contribution, retrain, accuracy",
        "made: interaction, retrain, accuracy",
    ]


def with_metrics_of(arm: str, seeds: Sequence[int], metrics: dict[str, float]) -> AblationManifest:
    """The made study, in which some runs of an arm ("": the baseline) return other metrics."""
    ablated = (arm,) if arm else ()
    runs = [
        replace(run, metrics=metrics)
        if (run.ablated, run.role) == (ablated, Role.RUN) and run.seed in seeds
        else run
        for run in made_manifest().runs
    ]
    return made_manifest(runs=tuple(runs))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300])
@pytest.mark.parametrize("seeds", [(1, 2), tuple(SEEDS)])
def test_a_component_without_which_training_diverges_is_ranked_first(
    value: float, seeds: Sequence[int]
) -> None:
    manifest = with_metrics_of("none--identity", seeds, {"accuracy": value})
    manifest = replace(manifest, judgement=Judgement(margin=50.0))  # wider than all effects
    results = read_results(manifest)
    rows = {row[0]: row for row in ablation_tables(results)[1].rows}
    assert next(iter(rows)) == "none"
    assert [rows[name][2] for name in ("big", "none", "odd<i>")] == [10, 10, 10]
    assert rows["none"][3:7] == [None] * 4
    clause = f"; {len(seeds)} of 10 diverged without it"
    assert str(rows["none"][-1]).endswith(clause)
    assert not str(rows["none"][-1]).startswith("equivalent")
    before = {row[0]: row for row in ablation_tables(read_results(made_manifest()))[1].rows}
    assert rows["big"][3:7] == before["big"][3:7]
    words = words_of(manifest)
    assert words["diverged"] == (
        f"none--identity (retrain), {len(seeds)} of 10 runs: accuracy is not finite"
    )
    assert "failed" not in words
    figure = contributions_figure(results)
    texts = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "Arrow: training diverged on one side." in texts


def test_a_baseline_that_diverges_is_no_equivalence() -> None:
    manifest = with_metrics_of("", (1, 2, 3), {"accuracy": float("nan")})
    results = read_results(replace(manifest, judgement=Judgement(margin=50.0)))
    rows = {row[0]: row for row in ablation_tables(results)[1].rows}
    assert {str(row[-1]).partition("; ")[2] for row in rows.values()} == {
        "3 of 10 diverged with it alone"
    }
    assert not any("equivalent" in str(row[-1]) for row in rows.values())
    words = words_of(manifest)
    assert "; diverged under 3 more" in words["baseline, retrain"]
    assert "one of the two diverged in 3 of 10 pairs" in words["placebo"]


def test_a_choice_of_variants_is_said() -> None:
    assert "chosen" not in words_of(made_manifest())
    assert "chosen" not in words_of(made_manifest(n_certified=3))
    assert words_of(made_manifest(n_certified=26))["chosen"].startswith(
        "3 of 26 certified variants"
    )


def test_in_means_over_many_runs_one_that_diverged_is_the_worst_and_nothing_equivalent() -> None:
    names = ["a--identity", "b--identity"]
    lost = frozenset(names[:1])
    runs = [
        run_of(sorted(c), s, float("nan") if c == lost and s == 1 else 90.0 + 0.01 * s * len(c))
        for c in [BASELINE, *(frozenset([n]) for n in names), frozenset(names)]
        for s in SEEDS
    ]
    manifest = made_manifest(
        runs=tuple(runs),
        arms=tuple(arm_of(name) for name in names),
        design=DesignName.FACTORIAL,
        judgement=Judgement(margin=50.0),
    )
    results = read_results(manifest)
    for table in ablation_tables(results)[1:]:
        for row in table.rows:
            assert row[2] == 10
            assert str(row[-1]).endswith("; 1 of 10 hold a run that diverged")
            assert "equivalent" not in str(row[-1])
            assert row[3] is not None


def test_an_interaction_of_which_a_run_diverged_says_so_without_saying_which() -> None:
    names = ["a--identity", "b--identity"]
    configurations = [BASELINE, *(frozenset([n]) for n in names), frozenset(names)]
    runs = [
        run_of(sorted(c), s, float("nan") if len(c) == 2 else 90.0 + 0.1 * s)
        for c in configurations
        for s in SEEDS
    ]
    arms = tuple(arm_of(name) for name in names)
    manifest = made_manifest(runs=tuple(runs), arms=arms, design=DesignName.PAIRWISE)
    _, _, joint, interaction = ablation_tables(read_results(manifest))
    assert joint.rows[0][-1] == "costs; 10 of 10 diverged without it"
    assert interaction.rows[0][-1] == "redundant; 10 of 10 hold a run that diverged"


def test_one_seed_is_said_to_have_no_spread() -> None:
    full = made_manifest()
    runs = tuple(run for run in full.runs if run.seed == SEEDS[0])
    manifest = replace(full, runs=runs, seeds=(SEEDS[0],))
    words = words_of(manifest)
    assert "under one seed, which has no spread" in words["placebo"]
    assert ", 1 seed" in words["baseline, retrain"]
    notes = " ".join(ablation_tables(read_results(manifest))[1].notes)
    assert "One seed has no spread: give at least two --seeds" in notes
    assert "nan" not in " ".join(words.values())
    assert "beyond" not in notes


@pytest.mark.parametrize(("seeds", "n"), [((1, 2), 8), (tuple(SEEDS), 0)])
def test_every_arm_has_a_row_or_a_reason(seeds: Sequence[int], n: int) -> None:
    manifest = with_metrics_of("big--identity", seeds, {"f1": 0.1})
    reason = "the experiment returns no metric 'accuracy'; it returns f1"
    results = read_results(manifest)
    rows = {row[0]: row for row in ablation_tables(results)[1].rows}
    assert set(rows) == {"big", "none", "odd<i>"}
    assert rows["big"][2] == n
    assert (rows["big"][-1] == "failed") == (n == 0)
    start = f"big--identity (retrain), {len(seeds)} of 10 runs: {reason}"
    assert words_of(manifest)["failed"].startswith(start)
    assert len(contributions_figure(results).axes[0].get_yticks()) == 3


def test_a_baseline_that_diverged_in_every_seed_is_said() -> None:
    words = words_of(with_metrics_of("", SEEDS, {"accuracy": float("-inf")}))
    assert words["baseline, retrain"] == "diverged in every seed that ended"
    assert words["diverged"].startswith("baseline (retrain), 10 of 10 runs: accuracy is not finite")


def test_a_baseline_without_a_number_leaves_rows_with_the_reason() -> None:
    manifest = with_metrics_of("", SEEDS, {"f1": 1.0})
    words, table = words_of(manifest), ablation_tables(read_results(manifest))[1]
    assert words["baseline, retrain"] == "failed in every seed that ended"
    assert words["failed"].startswith(
        "baseline (retrain), 10 of 10 runs: the experiment returns no metric 'accuracy'"
    )
    assert [row[-1] for row in table.rows] == ["baseline failed"] * 3
    assert any(note.startswith("Failed: no seed has all the numbers") for note in table.notes)


def test_metrics_that_not_all_runs_return_are_said() -> None:
    manifest = with_metrics_of("big--identity", (3,), {"accuracy": 1.0, "f1": 0.5})
    rows = checks_table(read_results(manifest)).rows
    assert [row[1] for row in rows if row[0] == "metrics"] == [
        "'loss' is not in 1 of 52 finished runs: big--identity",
        "'f1' is only in 1 of 52 finished runs: big--identity",
    ]
    assert "metrics" not in words_of(made_manifest())


def test_a_study_whose_rows_have_no_seed_yet_says_so() -> None:
    runs = tuple(run for run in made_manifest().runs if not run.ablated)
    assert words_of(made_manifest(runs=runs))["tables, retrain"].startswith("none yet")


def test_a_number_of_a_hundred_digits_is_short() -> None:
    manifest = with_metrics_of("big--identity", SEEDS, {"accuracy": 9.9e99})
    assert "| -9.9e+99 |" in as_markdown(ablation_tables(read_results(manifest))[1])
