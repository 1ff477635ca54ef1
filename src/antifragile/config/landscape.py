"""The 98 shapes of the PSA paper (Table IV and Table V) as a committed list.

They are a list, not a formula: equation 2 lands within one neuron of only 8 of the 19 printed
2*W and 4*W widths. The text of Table IV lacks some rows (the 4*W and L*4 families and most
squares); their labels are inferred from the paper's own rules and marked so.
"""

from __future__ import annotations

from dataclasses import dataclass

from antifragile.config.architecture import Architecture, matched_width

_ONE_LAYER = (2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2)
_TWO_LAYERS = (939, 588, 354, 214, 115, 59, 30, 16, 8, 4)
_FOUR_LAYERS = (632, 425, 280, 185, 119, 76, 47, 29, 17)
_LARGE_SQUARES = (115, 91, 71, 56, 44, 35)
_SMALL_SQUARES = tuple(range(32, 0, -1))
_MATCHED_SQUARES = frozenset({115, 91, 71, 56, 44, 35, 26, 18, 12, 8, 4})
_SQUARES_PRINTED = frozenset({115, 91, 71, 56, 44, 35, 26, 18, 12, 8, 7, 6, 5, 4, 3, 2, 1})


@dataclass(frozen=True, kw_only=True)
class LandscapeEntry:
    """One shape of the paper: its parameter count on MNIST and how it came to be chosen."""

    architecture: Architecture
    parameters: int
    matched: bool
    inferred: bool

    @property
    def label(self) -> str:
        """``"Matched"`` or ``"Asymmetric"``, the paper's words in Table IV."""
        return "Matched" if self.matched else "Asymmetric"


@dataclass(frozen=True, kw_only=True)
class MatchingRow:
    """One parameter-matched shape beside what equation 2 would have given."""

    architecture: Architecture
    base: Architecture
    equation_width: float
    mismatch_percent: float


def _entry(layers: int, width: int, *, matched: bool, inferred: bool = False) -> LandscapeEntry:
    architecture = Architecture(((layers, width),))
    return LandscapeEntry(
        architecture=architecture,
        parameters=architecture.parameter_count(),
        matched=matched,
        inferred=inferred,
    )


def _paper_landscape() -> tuple[LandscapeEntry, ...]:
    shallow = [_entry(1, width, matched=width >= 4) for width in _ONE_LAYER]
    two = [_entry(2, width, matched=True) for width in _TWO_LAYERS]
    four = [_entry(4, width, matched=True, inferred=True) for width in _FOUR_LAYERS]
    squares = [
        _entry(n, n, matched=n in _MATCHED_SQUARES, inferred=n not in _SQUARES_PRINTED)
        for n in _LARGE_SQUARES + _SMALL_SQUARES
    ]
    deep_four = [_entry(n, 4, matched=False, inferred=True) for n in _FOUR_LAYERS]
    deep_two = [_entry(n, 2, matched=False) for n in _TWO_LAYERS]
    deep_one = [_entry(n, 1, matched=False) for n in _ONE_LAYER]
    return tuple(shallow + two + four + squares + deep_four + deep_two + deep_one)


PAPER_LANDSCAPE: tuple[LandscapeEntry, ...] = _paper_landscape()
"""The paper's 98 architectures, in the order of its released data."""


def matching_table() -> tuple[MatchingRow, ...]:
    """Compare each printed 2*W and 4*W width with equation 2 and give the true mismatch.

    The mismatch is the shape's parameter count against the 1*W network it is matched to, in
    percent. Source: PSA paper, section II.A, equation 2, Table IV.
    """
    rows = []
    for n_layers, widths in ((2, _TWO_LAYERS), (4, _FOUR_LAYERS)):
        for width, base_width in zip(widths, _ONE_LAYER, strict=False):
            base = Architecture(((1, base_width),))
            architecture = Architecture(((n_layers, width),))
            target = base.parameter_count()
            rows.append(
                MatchingRow(
                    architecture=architecture,
                    base=base,
                    equation_width=matched_width(target, n_layers),
                    mismatch_percent=100 * (architecture.parameter_count() / target - 1),
                )
            )
    return tuple(rows)
