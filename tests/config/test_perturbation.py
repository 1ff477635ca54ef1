"""Perturbed update equations in specs: what is read and refused, and that no older id moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.config.architecture import Architecture
from antifragile.config.modes import PAPER_MODES, get_mode, mode_names
from antifragile.config.perturbation import PERTURBATIONS, Perturbation
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.engine.checkpoint import trial_fingerprint
from antifragile.errors import SpecError

STUDIES = Path(__file__).parents[2] / "studies"
LEAST: dict[str, Any] = {"name": "s", "dataset": "tiny", "architectures": ["1*4"]}
IDS_BEFORE = {
    "bf16": "3bfa5b999aac758e",
    "demo": "a13cceb44ff83a06",
    "paper": "727cd16521a99dd8",
    "robustness": "90a5d54b897978c2",
    "smoke": "415ff2ecd31822a2",
    "reproduction/ten-trials": "5b1c7f153536208d",
    "reproduction/thirty-trials": "15c2947cf0533371",
    "reproduction/unit": "84c4ae1a243879e4",
}
AGN = "annealed_gradient_noise"


def trial(**changes: Any) -> TrialSpec:
    values = {"dataset": "tiny", "architecture": Architecture.parse("4*4"), "mode": "output"}
    return TrialSpec(**(values | changes))


@pytest.mark.parametrize(("name", "spec_id"), IDS_BEFORE.items())
def test_ids_of_studies_that_perturb_nothing_are_what_they_were(name: str, spec_id: str) -> None:
    assert StudySpec.from_toml(STUDIES / f"{name}.toml").spec_id == spec_id


def test_checkpoints_and_draws_of_older_trials_are_what_they_were() -> None:
    assert trial_fingerprint(trial(), "0" * 64) == (
        "547a34e21f723995d2a67132b4c68c78f8dc26e1cd44274e3d4ecc984a364580"
    )
    assert trial().streams().dropout.key64 == 3407152805067981574


def test_every_preset_is_a_mode_after_the_papers_six() -> None:
    assert mode_names()[: 6 + len(PERTURBATIONS)] == (*PAPER_MODES, *PERTURBATIONS)
    for name in PERTURBATIONS:
        mode = get_mode(name)
        assert (mode.group, mode.perturbation) == ("perturbation", Perturbation.of(name))
        assert (mode.ablation, mode.uses_dropout, mode.uses_decay) == (None, False, False)


def test_a_mode_perturbs_its_own_trials_only() -> None:
    spec = StudySpec.from_mapping(LEAST | {"modes": ["none", "output", AGN]})
    found = {t.mode: t.perturbations for t in spec.trial_specs()}
    assert found == {"none": (), "output": (), AGN: (Perturbation.of(AGN),)}
    assert "perturb" not in spec.canonical_json()


def test_training_perturb_is_for_all_modes_and_the_modes_own_comes_last() -> None:
    common = {"preset": "random_weight_perturbation"}
    spec = StudySpec.from_mapping(
        LEAST | {"modes": ["none", AGN], "training": {"perturb": [common]}}
    )
    weight = Perturbation.of("random_weight_perturbation")
    found = {t.mode: t.perturbations for t in spec.trial_specs()}
    assert found == {"none": (weight,), AGN: (weight, Perturbation.of(AGN))}


def test_a_name_and_a_table_of_the_defaults_are_one_spec() -> None:
    eta = PERTURBATIONS[AGN].options["eta"].default
    by_name, by_table, other = (
        TrainingOptions.from_mapping({"perturb": [item]})
        for item in (AGN, {"preset": AGN, "eta": eta}, {"preset": AGN, "eta": 2 * eta})
    )
    assert by_name == by_table
    assert by_name != other
    assert by_name.to_mapping()["perturb"][0]["eta"] == eta
    assert hash(by_name) == hash(by_table)


@given(st.lists(st.sampled_from([n for n, f in PERTURBATIONS.items() if not f.needs_closure]),
                unique=True, max_size=3))  # fmt: skip
def test_canonical_json_keeps_every_perturbation(names: list[str]) -> None:
    spec = StudySpec.from_mapping(LEAST | {"modes": ["none"], "training": {"perturb": names}})
    assert StudySpec.from_json(spec.canonical_json()) == spec
    assert ("perturb" in spec.canonical_json()) == bool(names)
    plain = replace(spec, training=TrainingOptions())
    assert (plain.spec_id == spec.spec_id) == (not names)


def test_differences_name_perturb_where_one_spec_lacks_it() -> None:
    plain = StudySpec.from_mapping(LEAST)
    noisy = StudySpec.from_mapping(LEAST | {"modes": ["none"], "training": {"perturb": [AGN]}})
    for one, other in ((plain, noisy), (noisy, plain)):
        clauses = [c.split(":")[0] for c in one.differences(other)]
        assert clauses == ["modes", "training.perturb"]


def test_all_faults_of_perturb_are_reported_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        StudySpec.from_mapping(
            LEAST
            | {
                "modes": ["hiden"],
                "training": {
                    "perturb": [
                        "anealed_gradient_noise",
                        {"preset": AGN, "eta": -1, "gama": 2},
                        {"eta": 1},
                        3,
                        AGN,
                        AGN,
                    ]
                },
            }
        )
    how = "name a preset, or write a table as in {preset = 'annealed_gradient_noise', eta = 0.1}"
    assert caught.value.faults == [
        f"perturb: preset 'anealed_gradient_noise' is unknown; did you mean '{AGN}'?",
        "perturb: unknown key 'gama'; did you mean 'gamma'?",
        "perturb: eta must be a number of at least 0; got -1",
        f"perturb has {{'eta': 1}}, which is no preset: {how}",
        f"perturb has 3, which is no preset: {how}",
        f"perturb lists '{AGN}' 2 times",
        "mode 'hiden' is unknown; did you mean 'hidden'?",
    ]


@pytest.mark.parametrize("value", [AGN, {"preset": AGN}, 3, None, [[AGN]], [{"preset": 3}]])
def test_anything_but_a_list_of_presets_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="name a preset, or write a table"):
        TrainingOptions.from_mapping({"perturb": value})


def test_a_mode_and_perturb_may_not_name_the_same_preset() -> None:
    with pytest.raises(SpecError, match=r"which training\.perturb names for all modes; drop one"):
        StudySpec.from_mapping(LEAST | {"modes": ["none", AGN], "training": {"perturb": [AGN]}})
    with pytest.raises(SpecError, match="drop one of the two"):
        trial(mode=AGN, training=TrainingOptions(perturb=(Perturbation.of(AGN),)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (AGN, AGN),
        (f"{AGN}:eta=0.5", f"{AGN}(eta=0.5)"),
        (f" {AGN} : eta=1, gamma=0", f"{AGN}(eta=1, gamma=0)"),
    ],
)
def test_a_command_line_names_a_preset_with_options(text: str, words: str) -> None:
    found = Perturbation.parse(text)
    assert found.words == words
    assert Perturbation.of_mapping(found.to_mapping()) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "preset '' is unknown; expected one of"),
        ("agn", "preset 'agn' is unknown"),
        (f"{AGN}:eta", "write NAME:option=number"),
        (f"{AGN}:eta=high", "write NAME:option=number"),
        (f"{AGN}:eta=-1", "eta must be a number of at least 0"),
        (f"{AGN}:eta=nan", "got nan"),
        (f"{AGN}:eat=1", "did you mean 'eta'?"),
    ],
)
def test_a_command_line_that_names_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Perturbation.parse(text)
    assert message in str(caught.value)


def test_the_perturbation_stream_is_the_trials_own() -> None:
    streams = [trial(mode=m, trial=t).streams() for m in ("none", AGN) for t in (1, 2)]
    keys = {key for s in streams for key in (s.perturbation.key64, s.dropout.key64)}
    assert len(keys) == 8
    assert streams[0].init == streams[2].init
    assert streams[0].order == streams[2].order
