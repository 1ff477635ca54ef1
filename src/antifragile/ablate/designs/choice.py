"""Designs by name, and how many components each can bear."""

from __future__ import annotations

from collections.abc import Sequence

from antifragile.ablate.designs.base import (
    AddOneIn,
    Design,
    DesignName,
    LeaveOneOut,
    Pairwise,
    check_components,
)
from antifragile.ablate.designs.factorial import Factorial
from antifragile.ablate.designs.path import AblationPath
from antifragile.ablate.designs.shapley import Shapley
from antifragile.analysis.inference.paired import Judgement

MOST_COMPONENTS = {
    DesignName.LEAVE_ONE_OUT: 10_000,
    DesignName.ADD_ONE_IN: 200,
    DesignName.PAIRWISE: 24,
    DesignName.FACTORIAL: 64,
    DesignName.PATH: 40,
    DesignName.SHAPLEY: 64,
}


def make_design(
    name: DesignName,
    components: Sequence[str],
    seeds: Sequence[int],
    *,
    judgement: Judgement,
    looks: Sequence[int] = (),
) -> Design:
    """The design of that name.

    Args:
        name: Which.
        components: What can be ablated.
        seeds: Pairs, in the order in which they are spent.
        judgement: Of an adaptive leave-one-out.
        looks: Its cumulative numbers of seeds; empty for a fixed number.

    Raises:
        UsageError: No component, or too many for it.
    """
    check_components(name, components, most=MOST_COMPONENTS[name])
    if name is DesignName.LEAVE_ONE_OUT:
        return LeaveOneOut(components=components, seeds=seeds, looks=looks, judgement=judgement)
    makers: dict[DesignName, type[AddOneIn | Pairwise | Factorial | AblationPath | Shapley]] = {
        DesignName.ADD_ONE_IN: AddOneIn,
        DesignName.PAIRWISE: Pairwise,
        DesignName.FACTORIAL: Factorial,
        DesignName.PATH: AblationPath,
        DesignName.SHAPLEY: Shapley,
    }
    return makers[name](components=components, seeds=seeds)


def looks_until(first: int, most: int) -> tuple[int, ...]:
    """Looks of an adaptive study: half as many seeds again each time, at most ``most``."""
    looks = [first]
    while looks[-1] < most:
        looks.append(min(most, max(looks[-1] + 1, looks[-1] * 3 // 2)))
    return tuple(looks)
