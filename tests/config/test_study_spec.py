"""Study specs: what is read, what is refused, and that nothing else ever happens."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from antifragile.config.architecture import Architecture
from antifragile.config.landscape import PAPER_LANDSCAPE
from antifragile.config.modes import PAPER_MODES
from antifragile.config.seeds import Pairing
from antifragile.config.specs.evaluate import Keep
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.training import PRESETS, TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.errors import SpecError

LEAST: dict[str, Any] = {"name": "s", "dataset": "tiny", "architectures": ["1*4"]}
KEYS = [*StudySpec.__dataclass_fields__, *TrainingOptions.__dataclass_fields__, "sede"]

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.sampled_from(["paper", "1*4", "[0*4]", "none", "lkg", "paired", "unit", "npz:x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
good_specs = st.builds(
    lambda **values: StudySpec(**values),
    name=st.text(string.ascii_letters + " ä漢-./", min_size=1, max_size=200).filter(str.strip),
    dataset=st.sampled_from(["tiny", "mnist", "npz:a b.npz"]),
    architectures=st.lists(
        st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda block: Architecture((block,))),
        min_size=1,
        max_size=4,
        unique=True,
    ).map(tuple),
    modes=st.lists(st.sampled_from(PAPER_MODES), min_size=1, unique=True).map(tuple),
    trials=st.integers(1, 1000),
    meta_loops=st.integers(1, 10**7),
    pairing=st.sampled_from(Pairing),
    seed=st.integers(0, 2**53),
    keep=st.sampled_from(Keep),
    preset=st.sampled_from(sorted(PRESETS)),
    training=st.builds(
        TrainingOptions,
        learning_rate=st.floats(1e-30, 1e17),
        batch_size=st.integers(1, 2**31 - 1),
        dropout=st.floats(0, 0.99),
    ),
)


def test_the_least_spec_is_the_papers_protocol() -> None:
    spec = StudySpec.from_mapping(LEAST)
    assert (spec.modes, spec.trials, spec.meta_loops, spec.seed) == (PAPER_MODES, 10, 100, 1337)
    assert (spec.pairing, spec.keep, spec.preset) == (Pairing.PAIRED, Keep.LKG, "paper")
    assert spec.training == PRESETS["paper"]


def test_the_paper_is_5880_trials() -> None:
    spec = StudySpec.from_mapping(LEAST | {"architectures": "paper", "modes": "paper"})
    assert spec.architectures == tuple(entry.architecture for entry in PAPER_LANDSCAPE)
    assert spec.n_trials == len(list(spec.trial_specs())) == 5880


def test_trial_1_of_every_cell_comes_first() -> None:
    spec = StudySpec.from_mapping(
        LEAST | {"architectures": ["1*4", "2*2"], "modes": ["none", "full"], "trials": 2}
    )
    order = [(t.trial, t.architecture.name, t.mode) for t in spec.trial_specs()]
    assert order == sorted(order, key=lambda item: item[0])
    assert order[:4] == [(1, "1*4", "none"), (1, "1*4", "full"), (1, "2*2", "none"),
                         (1, "2*2", "full")]  # fmt: skip


def test_a_preset_is_where_training_starts() -> None:
    spec = StudySpec.from_mapping(LEAST | {"preset": "table-v", "training": {"batch_size": 8}})
    assert spec.training.background_weight_decay == 0.01
    assert spec.training.batch_size == 8


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("studies/*.toml")))
def test_the_shipped_studies_are_valid(path: Path) -> None:
    assert StudySpec.from_toml(path).name


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        StudySpec.from_mapping(
            {
                "nmae": "x",
                "dataset": "",
                "architectures": ["4*4", "[4*4]", "0*1", 3],
                "modes": ["none", "hiden"],
                "seed": -1,
                "trials": True,
                "keep": "lgk",
                "training": {"dropout": 1, "batchsize": 2},
            }
        )
    assert caught.value.faults == [
        "unknown key 'nmae'; did you mean 'name'?",
        "missing key 'name'",
        "block 0*1 has no neurons; layers and width must be at least 1",
        "architecture 3 is not a text; write it as '4*4'",
        "unknown key 'training.batchsize'; did you mean 'batch_size'?",
        "dropout must be at least 0 and below 1; got 1",
        "dataset must be a name or 'npz:PATH'; got ''",
        "architecture '4*4' is listed 2 times",
        "mode 'hiden' is unknown; did you mean 'hidden'?",
        "trials must be a whole number of at least 1; got True",
        "seed must be at least 0; got -1",
        "keep 'lgk' is unknown; did you mean 'lkg'?",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "got nan"),
        ({"learning_rate": 10**400}, "learning_rate must be above 0 .* got 1000"),
        ({"beta1": 1}, "beta1 must be at least 0 and below 1"),
        ({"epsilon": "small"}, "epsilon must be a number above 0 .* got 'small'"),
        ({"batch_size": 0x10**5000}, "batch_size must be at most .* got a very large int"),
        ({"normalization": "unti"}, "did you mean 'unit'"),
    ],
)
def test_training_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TrainingOptions.from_mapping(options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "hiden"}, "unknown mode 'hiden'; did you mean 'hidden'?"),
        ({"trial": 0}, "trial must be at least 1; got 0"),
        ({"meta_loops": 0}, "meta_loops must be at least 1; got 0"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"pairing": "pared"}, "did you mean 'paired'?"),
    ],
)
def test_a_trial_is_valid_once_built(changes: dict[str, Any], message: str) -> None:
    values = {"dataset": "tiny", "architecture": Architecture.parse("1*4"), "mode": "none"}
    with pytest.raises(SpecError) as caught:
        TrialSpec(**(values | changes))
    assert message in str(caught.value)


@given(good_specs)
def test_canonical_json_is_the_spec(spec: StudySpec) -> None:
    again = StudySpec.from_json(spec.canonical_json())
    assert again == spec
    assert again.canonical_json() == spec.canonical_json()
    assert again.spec_id == spec.spec_id
    assert StudySpec.from_mapping(spec.to_mapping()) == spec


@given(good_specs, st.integers(0, 50), st.integers(0, 50))
def test_an_extension_changes_the_totals_only(
    spec: StudySpec, more_trials: int, more_loops: int
) -> None:
    loops = min(spec.meta_loops + more_loops, 10**7)
    larger = spec.extended(trials=spec.trials + more_trials, meta_loops=loops)
    assert (larger.trials, larger.meta_loops) == (spec.trials + more_trials, loops)
    changed = {clause.split(":")[0] for clause in larger.differences(spec)}
    assert changed <= {"trials", "meta_loops"}
    assert spec.extended() == spec


@pytest.mark.parametrize("totals", [{"trials": 9}, {"meta_loops": 99}])
def test_an_extension_cannot_shrink(totals: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=r"already has .* an extension gives the new total"):
        StudySpec.from_mapping(LEAST).extended(**totals)


def test_asking_for_harm_is_part_of_a_study_and_not_asking_changes_no_id() -> None:
    plain, asked = (
        StudySpec.from_mapping(LEAST | {"evaluate": evaluate}) for evaluate in ({}, {"harm": True})
    )
    assert '"evaluate":{"robustness":false}' in plain.canonical_json()
    assert StudySpec.from_mapping(LEAST | {"evaluate": {"harm": False}}) == plain
    assert StudySpec.from_json(asked.canonical_json()) == asked
    assert asked.spec_id != plain.spec_id
    assert plain.differences(asked) == ["evaluate.harm: false against true"]
    assert asked.differences(plain) == ["evaluate.harm: true against false"]


def test_what_is_evaluated_is_checked() -> None:
    with pytest.raises(SpecError) as caught:
        StudySpec.from_mapping(
            LEAST | {"evaluate": {"harm": 1, "robustness": "yes", "harms": True}}
        )
    for fault in (
        "evaluate.harm must be true or false; got 1",
        "evaluate.robustness must be true or false; got 'yes'",
        "unknown key 'evaluate.harms'",
    ):
        assert fault in str(caught.value)


def test_differences_name_the_keys() -> None:
    spec = StudySpec.from_mapping(LEAST)
    other = StudySpec.from_mapping(LEAST | {"seed": 1, "training": {"batch_size": 8}})
    assert spec.differences(spec) == []
    assert spec.differences(other) == ["seed: 1337 against 1", "training.batch_size: 256 against 8"]


def only_spec_errors(read: Callable[[], StudySpec]) -> None:
    """Either a spec that survives its own JSON, or a SpecError; nothing else."""
    spec = None
    with suppress(SpecError):
        spec = read()
    assert spec is None or StudySpec.from_json(spec.canonical_json()) == spec


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), plain_values, max_size=5))
@example({"training": {"learning_rate": 10**400}})
@example({"seed": 0x10**5000})
@example({"preset": []})
@example({"modes": [[]]})
def test_any_mapping_is_a_spec_or_an_error(changes: dict[str, Any]) -> None:
    only_spec_errors(lambda: StudySpec.from_mapping(changes))
    only_spec_errors(lambda: StudySpec.from_mapping(LEAST | changes))


@given(text=st.text(max_size=200) | st.sampled_from(["seed = " + "9" * 5000, "a = " + "[" * 3000]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_spec_or_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    only_spec_errors(lambda: StudySpec.from_toml(path))


@given(cut=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damaged_spec_is_a_spec_or_an_error(cut: st.DataObject, tmp_path: Path) -> None:
    good = (Path(__file__).parents[2] / "studies" / "demo.toml").read_bytes()
    place = cut.draw(st.integers(0, len(good) - 1))
    damaged = good[:place] + cut.draw(st.binary(max_size=3)) + good[place + 1 :]
    path = tmp_path / "s.toml"
    path.write_bytes(damaged)
    only_spec_errors(lambda: StudySpec.from_toml(path))


def test_canonical_json_is_plain_json() -> None:
    spec = StudySpec.from_mapping(LEAST)
    assert json.loads(spec.canonical_json()) == spec.to_mapping()
