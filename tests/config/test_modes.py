"""Names of modes: one canonical spelling, every field from the name, refusals that help."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.config import modes
from antifragile.config.architecture import Architecture
from antifragile.config.modes import (
    PAPER_MODES,
    Ablation,
    Mode,
    get_mode,
    is_mode,
    mode_names,
)
from antifragile.config.modifiers.records import (
    PAPER,
    DamageKind,
    NeuronRank,
    OptimizerMemory,
    Promotion,
    PromotionRule,
    TargetChoice,
)
from antifragile.config.modifiers.table import MODIFIERS
from antifragile.config.networks import Network
from antifragile.config.seeds import Pairing
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.trial import TrialSpec
from antifragile.errors import SpecError


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("hidden", "hidden"),
        ("hidden+greedy+reset+zero+count=1", "hidden"),
        (" hidden + patience = 5 ", "hidden+patience=5"),
        ("hidden+count=2+patience=5x2", "hidden+patience=5+count=2"),
        ("hidden+patience=5x1.50", "hidden+patience=5x1.5"),
        ("hidden+fraction=.10", "hidden+fraction=0.1"),
        ("hidden+persistent+fraction=0.1", "hidden+persistent+fraction=0.1"),
        ("none+persistent+always-accept", "none+continuous"),
        ("hidden+layers=2/0", "hidden+layers=0/2"),
        ("hidden+layers=2*2/0*6", "hidden+layers=0*3/2*1"),
        ("full+layers=0*2/1*2", "full+layers=0/1"),
        ("hidden+layers=0*2/1*2", "hidden+layers=0*1/1*1"),
        ("hidden+layers=1*7", "hidden+layers=1"),
        ("dropout:50, output:50", "dropout:50,output:50"),
        ("none:3,none:4,hidden+greedy:5", "none:7,hidden:5"),
        ("none:3,none:4", "none"),
        ("sgld+patience=3", "sgld+patience=3"),
        ("none+learning-rate=1e-3+initialisation=he", "none+learning-rate=0.001+initialisation=he"),
        ("none + learning-rate = 1", "none+learning-rate=1"),
        ("redo+every=1000+persistent+always-accept", "redo+continuous"),
        ("redo+every=20+continuous", "redo+continuous+every=20"),
    ],
)
def test_two_spellings_of_one_mode_are_one_mode(written: str, canonical: str) -> None:
    mode = get_mode(written)
    assert mode.name == canonical
    assert get_mode(canonical) == mode
    spec = TrialSpec(dataset="tiny", architecture=Architecture.parse("3*4"), mode=written)
    assert spec.mode == canonical


def test_the_name_says_every_field() -> None:
    mode = get_mode("hidden+patience=5x3+persistent-zeroed+fraction=0.5+dormant+reinit")
    assert (mode.group, mode.base, mode.ablation) == (
        "variant",
        "hidden",
        get_mode("hidden").ablation,
    )
    assert mode.variation == replace(
        PAPER,
        promotion=Promotion(rule=PromotionRule.PATIENCE, loops=5, growth=3.0),
        optimizer=OptimizerMemory.ZEROED,
        targets=TargetChoice(fraction=0.5, rank=NeuronRank.DORMANT),
        damage=DamageKind.REINIT,
    )


def test_modes_with_modifiers_are_not_among_the_registered_ones() -> None:
    before = mode_names()
    get_mode("hidden+count=2")
    assert mode_names() == before
    assert before[:6] == PAPER_MODES
    assert all(get_mode(name).variation == PAPER for name in before)
    assert {get_mode(name).group for name in PAPER_MODES} == {"baseline", "psa"}


@pytest.mark.parametrize("name", sorted(MODIFIERS))
def test_every_modifier_has_a_spelling_that_reads_back(name: str) -> None:
    modifier = MODIFIERS[name]
    base = "redo" if name == "every" else "hidden"
    mode = get_mode(f"{base}+{modifier.example or name}")
    assert get_mode(mode.name) == mode
    assert (mode == get_mode(base)) == modifier.default
    assert bool(modifier.value) == bool(modifier.example)
    assert modifier.words


WORDS = st.lists(
    st.sampled_from([item.example or item.name for item in MODIFIERS.values()]), max_size=4
)


@given(st.sampled_from(PAPER_MODES), WORDS, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_canonical_names_stay(
    base: str, words: list[str], random
) -> None:
    name = "+".join([base, *words])
    shuffled = words.copy()
    random.shuffle(shuffled)
    if is_mode(name):
        mode = get_mode(name)
        assert get_mode("+".join([base, *shuffled])) == mode
        assert get_mode(mode.name) == mode
    else:
        with pytest.raises(SpecError):
            get_mode("+".join([base, *shuffled]))


@given(st.text(alphabet="hidenou +=:,/*.x0123456789-", max_size=30))
def test_any_text_is_a_mode_or_refused_in_a_sentence(text: str) -> None:
    try:
        mode = get_mode(text)
    except SpecError as error:
        sentence = str(error)
    else:
        assert get_mode(mode.name) == mode
        sentence = mode.name
    assert sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hiden", "unknown mode 'hiden'; did you mean 'hidden'?"),
        ("hiden+count=2", "unknown mode 'hiden' in 'hiden+count=2'; did you mean 'hidden'?"),
        ("hidden+pacience=5", "no modifier 'pacience'; did you mean 'patience'?"),
        ("hidden+patience", "modifier 'patience' is written 'patience=N or NxG'; try"),
        ("hidden+patience=0", "takes N or NxG; got '0'; try 'hidden+patience=5'"),
        ("hidden+patience=3x0.5", "got '3x0.5'"),
        ("hidden+dormant=3", "'dormant=3' is written 'dormant'; try 'hidden+dormant'"),
        ("hidden+fraction=1.5", "takes F (above 0, at most 1); got '1.5'"),
        ("hidden+layers=0*1/1", "takes A/B or A*W/B*W; got '0*1/1'; try 'hidden+layers=0/1'"),
        ("none+fraction=0.1", "ablates nothing that 'fraction=0.1' could act on; did you mean"),
        ("none+persistent-zeroed", "did you mean 'hidden+persistent-zeroed'?"),
        ("hidden+patience=3+restart=4", "has both 'patience' and 'restart', which decide the same"),
        ("hidden+continuous+reset", "has both 'continuous' and 'reset', which decide the optimi"),
        ("hidden+fixed=0/0+noise+adaptive", "no other choice of neurons can stand beside it"),
        ("hidden+layers=0*1/1*2+dormant+scattered", "did you mean 'hidden+scattered'?"),
        ("hidden+layers=0*1/1*2+least-gradient", "did you mean 'hidden+layers=0/1+least-gradient'"),
        ("hidden+every=5", "has no number of updates that 'every' could change; did you mean"),
        ("snr+every=5", "has no number of updates that 'every' could change; did you mean 'redo+"),
        ("none+learning-rate=0", "takes F (above 0, at most 1,000); got '0'; try 'none+learning-"),
        ("none+learning-rate=nan", "got 'nan'"),
        ("none+initialisation=She", "takes pytorch or he; got 'She'; try 'none+initialisation=he'"),
        ("none:3,hidden+initialisation=he:2", "begins with one network"),
        ("redo+count=2", "mode 'redo' ablates nothing that 'count=2' could act on"),
        ("output+layers=0", "hits the output layer only"),
        ("dropout:50,output", "has 'output'; each part is MODE:LOOPS, as in"),
        ("dropout:0,output:1", "each part is MODE:LOOPS"),
        ("a" * 120 + "+count=2", "unknown mode"),
        (",".join(f"hidden+count={n}:5" for n in range(2, 12)), "a name has at most 100"),
    ],
)
def test_refusals_name_what_would_be_right(name: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        get_mode(name)
    assert message in str(caught.value)
    assert not is_mode(name)


def test_a_mode_that_draws_in_its_own_way_takes_only_other_modifiers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Mode(name="own", group="psa", ablation=Ablation(choose=lambda widths, rng: (0, 0)))
    monkeypatch.setattr(modes, "_MODES", modes._MODES | {"own": own})
    assert get_mode("own+patience=2+noise+persistent-zeroed").ablation == own.ablation
    with pytest.raises(SpecError, match="'own' draws its neuron in its own way"):
        get_mode("own+count=2")


def test_a_schedule_gives_each_meta_loop_its_mode_and_the_last_one_goes_on() -> None:
    mode = get_mode("dropout:2,hidden+count=2:3,none:1")
    names = [mode.at(meta_loop).name for meta_loop in range(1, 9)]
    assert names == ["dropout"] * 2 + ["hidden+count=2"] * 3 + ["none"] * 3
    assert [mode.ablates(meta_loop, Network.MLP) for meta_loop in range(1, 8)] == [
        *(False, False),
        *(True, True, True),
        *(False, False),
    ]
    assert mode.group == "variant"


def trial(mode: str, pairing: Pairing = Pairing.PAIRED) -> TrialSpec:
    shape = Architecture.parse("2*4")
    return TrialSpec(dataset="tiny", architecture=shape, mode=mode, pairing=pairing)


def test_a_modifier_moves_no_random_stream_of_a_paired_trial() -> None:
    assert trial("hidden+patience=5").streams() == trial("hidden").streams()
    schedule = trial("dropout:2,hidden:2")
    assert schedule.streams(2) == trial("dropout").streams()
    assert schedule.streams(3) == trial("hidden").streams()
    assert schedule.at(3) == trial("hidden")


def test_independent_trials_share_no_stream() -> None:
    independent = Pairing.INDEPENDENT
    modes = ["hidden", "hidden+patience=5", "hidden:2,none:1", "none"]
    streams = [trial(mode, independent).streams(1) for mode in modes]
    assert len({item.ablation for item in streams}) == len({item.init for item in streams}) == 4


def spec_of(*modes: str, architecture: str = "2*4") -> StudySpec:
    return StudySpec.from_mapping(
        {"name": "s", "dataset": "tiny", "architectures": [architecture], "modes": list(modes)}
    )


def test_a_study_stores_canonical_names() -> None:
    spec = spec_of("none", "hidden + count=2", "none:3, output:4")
    assert spec.modes == ("none", "hidden+count=2", "none:3,output:4")
    assert StudySpec.from_json(spec.canonical_json()) == spec
    assert spec.spec_id == spec_of("none", "hidden+count=2+greedy", "none:3,output:4").spec_id


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        (["hidden", "hidden+count=1"], "mode 'hidden' is listed 2 times"),
        (["hidden+layers=2"], "'hidden+layers=2' does not fit architecture 2*4: layer 2 has no n"),
        (["hidden+count=9"], "count=9 asks for more neurons than the 8"),
        (["hidden:5,hidden+fixed=1/4:5"], "'hidden+fixed=1/4' does not fit architecture 2*4"),
        (["hidden+cuont=2"], "no modifier 'cuont'; did you mean 'count'?"),
    ],
)
def test_a_study_refuses_modes_that_cannot_run(modes: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(*modes)
    assert message in str(caught.value)
