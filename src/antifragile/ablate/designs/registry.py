"""All designs by name: one line each.

leave-one-out   {}, {i}             contribution: baseline minus ablated
add-one-in      all, all but i      contribution: with i alone minus with nothing
pairwise        {}, {i}, {i, j}     also joint contributions and interactions
factorial       half of a 2-level design and its mirror image
path            greedy, with racing
shapley         all subsets, or sampled orders
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from antifragile.errors import UsageError

if TYPE_CHECKING:
    from antifragile.ablate.designs.base import AblationDesign, DesignTraits
    from antifragile.analysis.inference.paired import Judgement


class DesignName(StrEnum):
    """The way in which components of a study are combined."""

    LEAVE_ONE_OUT = "leave-one-out"
    ADD_ONE_IN = "add-one-in"
    PAIRWISE = "pairwise"
    FACTORIAL = "factorial"
    PATH = "path"
    SHAPLEY = "shapley"


def design_class(name: DesignName) -> type[AblationDesign]:
    """The class of a design; imported late, as --help shows only names and needs no pandas."""
    from antifragile.ablate.designs.add_one_in import AddOneIn
    from antifragile.ablate.designs.factorial import Factorial
    from antifragile.ablate.designs.leave_one_out import LeaveOneOut
    from antifragile.ablate.designs.pairwise import Pairwise
    from antifragile.ablate.designs.path import AblationPath
    from antifragile.ablate.designs.shapley import Shapley

    classes: dict[DesignName, type[AblationDesign]] = {
        DesignName.LEAVE_ONE_OUT: LeaveOneOut,
        DesignName.ADD_ONE_IN: AddOneIn,
        DesignName.PAIRWISE: Pairwise,
        DesignName.FACTORIAL: Factorial,
        DesignName.PATH: AblationPath,
        DesignName.SHAPLEY: Shapley,
    }
    return classes[name]


def design_traits(name: DesignName) -> DesignTraits:
    """Facts about a design by name."""
    return design_class(name).traits


def make_design(
    name: DesignName,
    components: Sequence[str],
    seeds: Sequence[int],
    *,
    judgement: Judgement,
    looks: Sequence[int] = (),
) -> AblationDesign:
    """The design of that name.

    Args:
        name: Name of the design.
        components: Components that can be ablated.
        seeds: Pairs, in the order in which they are spent.
        judgement: Levels by which an adaptive leave-one-out calls a component settled.
        looks: Its cumulative numbers of seeds; empty for a fixed number.

    Raises:
        UsageError: No component, or too many for it.
    """
    found = design_class(name)
    if not components:
        raise UsageError(f"design {name} has no component to ablate; certify some first.")
    if len(components) > (most := found.traits.most_components):
        raise UsageError(
            f"design {name} takes at most {most} components; got {len(components)}. Choose some "
            "with --only, or use leave-one-out."
        )
    is_adaptive = name is DesignName.LEAVE_ONE_OUT
    further: dict[str, Any] = {"looks": looks, "judgement": judgement} if is_adaptive else {}
    return found(components=components, seeds=seeds, **further)


def looks_until(first: int, most: int) -> tuple[int, ...]:
    """Looks of an adaptive study: half as many seeds again each time, at most ``most``."""
    looks = [first]
    while looks[-1] < most:
        looks.append(min(most, max(looks[-1] + 1, looks[-1] * 3 // 2)))
    return tuple(looks)
