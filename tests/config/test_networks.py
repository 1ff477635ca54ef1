"""The kind of network as a training option: what it changes of an id, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from antifragile.config.architecture import Architecture
from antifragile.config.modes import PAPER_MODES, get_mode
from antifragile.config.networks import Initialiser, Network
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.training import PRESETS, TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.errors import ArchitectureError, SpecError

STUDY: dict[str, Any] = {"name": "s", "dataset": "tiny", "architectures": ["1*4"]}
RESIDUAL: dict[str, Any] = {"network": "resmlp"}
LATER = {
    "network": "resmlp",
    "initialisation": "he",
    "block_dropout": 0.1,
    "block_norm": "layer",
}


def test_the_fields_are_part_of_an_id_only_where_they_are_used() -> None:
    assert not set(LATER) & set(TrainingOptions().to_mapping())
    used = TrainingOptions.from_mapping(LATER)
    assert LATER.items() <= used.to_mapping().items()
    plain = StudySpec.from_mapping(STUDY | {"training": {"network": "mlp"}})
    assert plain.spec_id == StudySpec.from_mapping(STUDY).spec_id
    residual = StudySpec.from_mapping(STUDY | {"training": LATER})
    assert residual.spec_id != plain.spec_id
    assert StudySpec.from_json(residual.canonical_json()) == residual


def test_an_mlp_under_the_authors_preset_stays_one() -> None:
    spec = StudySpec.from_mapping(
        STUDY | {"preset": "author-resmlp", "training": {"network": "mlp", "block_dropout": 0}}
    )
    assert spec.training.network is Network.MLP
    assert StudySpec.from_json(spec.canonical_json()) == spec


def test_the_authors_preset_is_his_residual_networks() -> None:
    spec = StudySpec.from_mapping(STUDY | {"preset": "author-resmlp", "modes": [*PAPER_MODES]})
    assert spec.training == PRESETS["author-resmlp"]
    trials = {trial.mode: trial for trial in spec.trial_specs() if trial.trial == 1}
    assert {trial.training.network for trial in trials.values()} == {Network.RESMLP}
    assert {trial.block_dropout for trial in trials.values()} == {0.1}
    assert {mode for mode, trial in trials.items() if trial.dropout} == {"dropout"}
    assert {mode: trial.weight_decay for mode, trial in trials.items()} == {
        mode: 1e-4 if mode == "decay" else 0.01 for mode in PAPER_MODES
    }


def test_without_it_dropout_acts_in_its_mode_alone() -> None:
    spec = StudySpec.from_mapping(STUDY | {"training": RESIDUAL})
    dropping = {trial.mode: trial.block_dropout for trial in spec.trial_specs()}
    assert dropping == {mode: 0.1 if mode == "dropout" else 0.0 for mode in PAPER_MODES}


def test_masks_of_decay_and_none_differ_so_that_decay_is_no_placebo() -> None:
    assert TrainingOptions(network=Network.RESMLP).decay_is_placebo
    assert not TrainingOptions(network=Network.RESMLP, block_dropout=0.1).decay_is_placebo


@pytest.mark.parametrize("mode", ["channel", "author-hidden"])
def test_an_mlp_has_no_residual_blocks_to_ablate(mode: str) -> None:
    words = f"mode '{mode}' ablates residual blocks, which network 'mlp' has not"
    with pytest.raises(SpecError, match=words):
        StudySpec.from_mapping(STUDY | {"modes": ["none", mode]})
    architecture = Architecture.parse("1*4")
    with pytest.raises(SpecError, match=words):
        TrialSpec(dataset="tiny", architecture=architecture, mode=mode)
    spec = StudySpec.from_mapping(STUDY | {"modes": ["none", mode], "training": RESIDUAL})
    assert spec.modes == ("none", mode)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "resnet"}, "network 'resnet' is unknown; expected one of mlp, resmlp"),
        ({"network": 3}, "network 3 is unknown"),
        ({"initialisation": "hee"}, "initialisation 'hee' is unknown; did you mean 'he'"),
        ({"network": "resmlp", "block_dropout": 1}, "block_dropout must be at least 0 and below 1"),
        ({"network": "resmlp", "block_dropout": "x"}, "block_dropout must be a number"),
        ({"block_dropout": 0.1}, "block_dropout acts inside residual blocks, which network 'mlp'"),
        ({"block_norm": "layer"}, "block_norm acts inside residual blocks, which network 'mlp'"),
        ({"network": "resmlp", "block_norm": "batch"}, "block_norm 'batch' is unknown"),
    ],
)
def test_values_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TrainingOptions.from_mapping(options)


@pytest.mark.parametrize("mode", ["full", "output"])
def test_full_and_output_are_the_same_in_both_kinds(mode: str) -> None:
    chosen = get_mode(mode)
    assert chosen.ablation_in(Network.RESMLP) is chosen.ablation_in(Network.MLP)


def test_hidden_is_another_neuron_in_a_residual_network() -> None:
    hidden = get_mode("hidden")
    assert hidden.ablation_in(Network.RESMLP) is not hidden.ablation_in(Network.MLP)


def test_a_network_too_large_for_the_machine_is_refused_before_it_is_built() -> None:
    architecture = Architecture.parse("999999999*9")
    with pytest.raises(ArchitectureError, match="does not fit in memory"):
        architecture.check_fits_in_memory(network=Network.RESMLP)


def test_values_are_read_into_enums() -> None:
    options = TrainingOptions.from_mapping(LATER)
    assert options.network is Network.RESMLP
    assert options.initialisation is Initialiser.HE
