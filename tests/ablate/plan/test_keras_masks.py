"""A stand-in treats a Keras mask as the layer did: it neither ends one nor lets one go on."""

from __future__ import annotations

import pytest

from antifragile.ablate.plan.modules import check_mask
from antifragile.ablate.records import NoLegalEdit
from antifragile.ablate.trace.records import Run, Value


def run(before: bool, after: bool) -> Run:
    """A layer's call, and whether a mask goes with what it takes and returns."""
    taken, made = (
        Value(shape=(4, 6, 8), dtype="float32", hides_positions=masked)
        for masked in (before, after)
    )
    return Run(calls=1, operands={"0": taken}, outputs=(made,))


@pytest.mark.parametrize(
    ("before", "after", "is_input", "reason"),
    [
        (True, True, True, None),
        (False, False, True, None),
        (True, False, True, "it ends the mask of its input"),
        (True, True, False, "a mask goes on with what it returns"),
        (True, False, False, None),
        (False, True, True, None),  # what makes the mask is what is cut
    ],
)
def test_a_mask_goes_on_as_before(
    before: bool, after: bool, is_input: bool, reason: str | None
) -> None:
    if reason is None:
        check_mask([run(before, after)], "0", is_input=is_input)
        return
    with pytest.raises(NoLegalEdit, match=reason):
        check_mask([run(before, after)], "0", is_input=is_input)
