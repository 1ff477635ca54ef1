"""Streams: found by name, indexed by counters, the same everywhere and for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.config.architecture import Architecture
from antifragile.config.seeds import (
    Pairing,
    SeedTree,
    TrialStreams,
    derive_words,
    dropout_keep_mask,
    mix32,
)
from antifragile.config.specs.trial import TrialSpec


def test_streams_are_pinned() -> None:
    stream = SeedTree(1337).child("4*4", 1).child("order")
    assert stream.key64 == PINNED_KEY
    assert stream.generator(3).permutation(8).tolist() == PINNED_ORDER
    assert derive_words(12345, 1, 2, 3) == PINNED_WORDS
    assert mix32(np.array([0, 1, 2**32 - 1])).tolist() == PINNED_MIX


def test_a_draw_in_one_place_moves_nothing_elsewhere() -> None:
    tree = SeedTree(7)
    before = tree.child("order").generator(2).integers(2**63, size=4)
    tree.child("order").generator(1).integers(2**63, size=1000)
    tree.child("ablation").generator(2).integers(2**63, size=1000)
    assert (tree.child("order").generator(2).integers(2**63, size=4) == before).all()


@given(st.integers(0, 2**53), st.integers(1, 10**6), st.integers(0, 10**6))
def test_counters_and_names_separate_streams(seed: int, meta_loop: int, step: int) -> None:
    tree = SeedTree(seed)
    generators = [
        tree.child("a").generator(meta_loop, step),
        tree.child("a").generator(meta_loop + 1, step),
        tree.child("a").generator(meta_loop, step + 1),
        tree.child("b").generator(meta_loop, step),
        SeedTree(seed + 1).child("a").generator(meta_loop, step),
    ]
    assert len({int(generator.integers(2**63)) for generator in generators}) == len(generators)


def test_a_name_is_not_confused_with_the_path_it_spells() -> None:
    assert SeedTree(1).child("a", "b").key != SeedTree(1).child("a/b").key
    assert SeedTree(1).child("1").key != SeedTree(1).child(1).key


def test_paired_modes_share_init_and_order_only() -> None:
    none, hidden = (streams(mode, Pairing.PAIRED) for mode in ("none", "hidden"))
    assert none.init == hidden.init
    assert none.order == hidden.order
    assert none.ablation != hidden.ablation
    assert none.dropout != hidden.dropout


def test_independent_modes_share_nothing() -> None:
    none, hidden = (streams(mode, Pairing.INDEPENDENT) for mode in ("none", "hidden"))
    keys = {tree.key for s in (none, hidden) for tree in (s.init, s.order, s.ablation, s.dropout)}
    assert len(keys) == 8


def streams(mode: str, pairing: Pairing) -> TrialStreams:
    architecture = Architecture.parse("4*4")
    spec = TrialSpec(dataset="tiny", architecture=architecture, mode=mode, pairing=pairing)
    return spec.streams()


def test_dropout_mask_follows_its_definition_element_by_element() -> None:
    stream = SeedTree(3).child("dropout")
    keep = dropout_keep_mask(stream, meta_loop=5, step=6, layer=1, shape=(4, 3), p=0.25)
    a, b = derive_words(stream.key64, 5, 6, 1)
    golden, modulus = 0x9E3779B9, 2**32
    for sample in range(4):
        word = mix(sample * golden + a)
        for unit in range(3):
            element = mix(word ^ ((unit * golden + b) % modulus))
            assert keep[sample, unit] == (element >= int(0.25 * modulus))


def mix(x: int) -> int:
    return int(mix32(np.array([x % 2**32], dtype=np.uint32))[0])


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_the_right_share_without_patterns(p: float) -> None:
    masks = np.stack(
        [
            dropout_keep_mask(SeedTree(1), meta_loop=1, step=s, layer=0, shape=(256, 64), p=p)
            for s in range(50)
        ]
    )
    n = masks.size
    assert abs(masks.mean() - (1 - p)) < 4 * np.sqrt(p * (1 - p) / n)
    for axes in ((0, 1), (0, 2), (1, 2)):  # shares by unit, by sample, by step
        shares = masks.mean(axis=axes)
        expected_sd = np.sqrt(p * (1 - p) * shares.size / n)
        assert 0.7 < shares.std() / expected_sd < 1.3
    neighbours = np.corrcoef(masks[:, :, :-1].ravel(), masks[:, :, 1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(n)


PINNED_KEY = 4274932503484137057
PINNED_ORDER = [0, 3, 1, 2, 6, 7, 5, 4]
PINNED_WORDS = (1182897957, 3918704371)
PINNED_MIX = [0, 1753845952, 1734902346]
