"""Architecture strings, parameter counts by equation 1, matched widths by equation 2."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antifragile.config import architecture
from antifragile.config.architecture import Architecture, matched_width
from antifragile.errors import ArchitectureError

blocks = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 3000)), min_size=1, max_size=6).map(
    tuple
)
architectures = blocks.map(Architecture)
near_misses = st.text(alphabet="[]0123456789*, -+.eE_x٣²\t\n", max_size=30)


@pytest.mark.parametrize(
    ("text", "widths", "name"),
    [
        ("4*4", (4, 4, 4, 4), "4*4"),
        ("[1*2048]", (2048,), "1*2048"),
        ("[2*128, 1*10, 4*16]", (128, 128, 10, 16, 16, 16, 16), "[2*128, 1*10, 4*16]"),
        (" [ 1*8,1 * 8 ] ", (8, 8), "2*8"),
        ("007*1", (1,) * 7, "7*1"),
    ],
)
def test_what_is_read(text: str, widths: tuple[int, ...], name: str) -> None:
    architecture = Architecture.parse(text)
    assert architecture.hidden_widths == widths
    assert architecture.depth == len(widths)
    assert str(architecture) == architecture.name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has an empty block"),
        ("[]", "has an empty block"),
        ("[4*4,]", "has an empty block"),
        ("4*", r"has block '4\*'; write layers\*width as in '4\*4'"),
        ("4", "has block '4'"),
        ("*4", r"has block '\*4'"),
        ("4*4*4", r"has block '4\*4\*4'"),
        ("4.0*4", "has block"),
        ("-4*4", "has block"),
        ("٣*٣", "has block"),
        ("[0*4]", r"block 0\*4 has no neurons; layers and width must be at least 1\."),
        ("4*0", r"block 4\*0 has no neurons"),
        ("[4*4", "unpaired bracket"),
        ("4*4]", "unpaired bracket"),
        ("4*4, 2*2", "several blocks but no brackets"),
        ("[[4*4]]", "has block"),
        ("1*" + "9" * 13, "larger than any memory"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        Architecture.parse(text)


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="needs at least one block"):
        Architecture(())


@given(near_misses | st.text(max_size=30))
@example("[" * 5000)
@example("9" * 5000 + "*1")
def test_any_text_is_an_architecture_or_an_error(text: str) -> None:
    message = ""
    try:
        architecture = Architecture.parse(text)
        assert Architecture.parse(architecture.name) == architecture
    except ArchitectureError as error:
        message = str(error)
    assert len(message) < 300


@given(architectures)
def test_a_name_names_its_architecture(architecture: Architecture) -> None:
    assert Architecture.parse(architecture.name) == architecture
    assert Architecture.parse(architecture.name.replace(", ", ",")) == architecture


@given(blocks)
def test_equal_networks_are_equal(parts: tuple[tuple[int, int], ...]) -> None:
    spelled_out = Architecture(tuple((1, w) for layers, w in parts for _ in range(layers)))
    assert spelled_out == Architecture(parts)
    assert hash(spelled_out) == hash(Architecture(parts))


@given(architectures, st.integers(1, 1000), st.integers(2, 100))
def test_parameters_are_the_sum_over_the_layers(
    architecture: Architecture, n_inputs: int, n_classes: int
) -> None:
    sizes = architecture.layer_sizes(n_inputs, n_classes)
    assert sizes == (n_inputs, *architecture.hidden_widths, n_classes)
    expected = sum(out * (into + 1) for into, out in pairwise(sizes))
    assert architecture.parameter_count(n_inputs, n_classes) == expected


@given(st.integers(1, 60), st.integers(1, 3000), st.integers(1, 1000), st.integers(2, 100))
def test_the_matched_width_inverts_the_count(
    n_layers: int, width: int, n_inputs: int, n_classes: int
) -> None:
    parameters = Architecture(((n_layers, width),)).parameter_count(n_inputs, n_classes)
    solved = matched_width(parameters, n_layers, n_inputs, n_classes)
    assert solved == pytest.approx(width, rel=1e-12)


@pytest.mark.parametrize(
    ("parameters", "n_layers", "message"),
    [(1000, 0, "at least one layer"), (10, 2, "no network of 2 layers has 10 parameters")],
)
def test_a_width_that_cannot_be_is_refused(parameters: int, n_layers: int, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        matched_width(parameters, n_layers)


@pytest.mark.parametrize("text", ["1*999999999", "999999999*4", "999999999999*999999999999"])
def test_what_no_machine_holds_is_refused_at_once(text: str) -> None:
    with pytest.raises(ArchitectureError, match=r"does not fit in memory: .* needs at least .*GiB"):
        Architecture.parse(text).check_fits_in_memory()


def test_the_mean_width_of_any_depth_is_at_hand() -> None:
    assert Architecture.parse("[1*2, 1*8]").mean_width == pytest.approx(4)
    assert Architecture.parse("[2*4, 1*32]").mean_width == pytest.approx(8)
    assert Architecture.parse("999999999999*4").mean_width == pytest.approx(4)


def test_the_papers_largest_networks_fit() -> None:
    for text in ("1*2048", "4*632", "2048*1"):
        Architecture.parse(text).check_fits_in_memory()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.max", "1048576\n", 2**20),
        ("memory/memory.limit_in_bytes", "2097152\n", 2**21),
        ("memory.max", "max\n", None),
    ],
)
def test_a_container_may_hold_less_than_its_machine(
    tmp_path: Path, name: str, text: str, expected: int | None
) -> None:
    physical = architecture._memory_bytes_here(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert architecture._memory_bytes_here(tmp_path) == (expected or physical)
