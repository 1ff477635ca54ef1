"""The batch axis, found by running the model on all samples and on another number of them.

    whole = model(inputs)                        n samples
    part  = model(some samples of the inputs)    k samples, k != n

An axis of the inputs is the batch axis when each sample of `part` has the output that it has in
`whole`: samples do not influence one another, positions of a sequence do. The same two runs show
where samples lie in every other value: along the one axis whose size changed from n to k.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import numpy as np

from antifragile.ablate.trace.notes import Phase, Shapes
from antifragile.ablate.trace.records import Batch

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

_MOST_TRIES = 8  # runs on some of the samples
_MOST_TOGETHER = 3  # ways to choose the axes of the other inputs, for one axis of one input
_ROUNDING_UNITS = 1024.0  # another number of samples is summed in another order
_MOST_TOLERANCE = 0.03
_MOST_FEATURES = 64  # along one axis of an input, of which means are noted
_NOT_APART = "with other samples beside it, a sample gets another output, along every axis tried"


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a second run.

    Args:
        count: Number of samples in the inputs.
        taken: Which of them stands at each place of the second run; None: one made up.
    """

    count: int
    taken: tuple[int | None, ...]

    @property
    def kept(self) -> tuple[list[int], list[int]]:
        """Places of the second run that hold a given sample, and these samples."""
        pairs = [(place, item) for place, item in enumerate(self.taken) if item is not None]
        return [place for place, _ in pairs], [item for _, item in pairs]


def another_number(count: int) -> Samples:
    """Choose samples for a second run, in their order, so that each gets other neighbours.

    Two at least, for models that squeeze; the first and the last have others before and behind
    them, or are left out, so that a model that reads samples one after the other shows it.
    """
    few: dict[int, tuple[int | None, ...]] = {
        1: (None, 0, None),
        2: (0, 0, 1),
        3: (1, 1),
        4: (1, 2),
    }
    return Samples(count=count, taken=few.get(count) or tuple(range(1, count - 1, 2)))


@dataclass(frozen=True, kw_only=True)
class FoundBatch:
    """The batch axis of each input tensor, by its id, and the samples that showed it."""

    batch: Batch
    samples: Samples | None = None
    axes: Mapping[int, int] = field(default_factory=dict)


def find_batch(
    leaves: Sequence[Any],
    run: Callable[[Sequence[Any], Phase], Sequence[Array]],
    take: Callable[[Any, int, Samples], Any],
    unit: float,
) -> FoundBatch:
    """Run the model on all samples, then on some, until they turn out to be independent.

    Args:
        leaves: All tensors in the inputs.
        run: Runs the model with other tensors in the place of the leaves; its outputs.
        take: Takes samples of a tensor along an axis.
        unit: Relative spacing of the coarsest floating type in the model and its outputs.
    """
    try:
        whole = run(leaves, Phase.WHOLE)
    except Exception as error:  # the user's code; the two forwards have passed
        reason = f"the model does not run once more ({type(error).__name__})"
        return FoundBatch(batch=Batch(reason=reason))
    tolerance = min(_ROUNDING_UNITS * unit, _MOST_TOLERANCE)
    shapes = [tuple(leaf.shape) for leaf in leaves]
    likely = [found for found in candidates(shapes) if could_follow(whole, found[0])]
    for count, axes in likely[:_MOST_TRIES]:
        samples = another_number(count)
        if runs_apart(leaves, axes, samples, run, take, whole, tolerance):
            known = {id(leaf): axis for leaf, axis in zip(leaves, axes, strict=True)}
            named = {key: axis for key, axis in known.items() if axis is not None}
            return FoundBatch(batch=Batch(size=count), samples=samples, axes=named)
    reason = _NOT_APART if likely else "no output has an axis for the samples"
    return FoundBatch(batch=Batch(reason=reason))


def first_axis_batch(
    leaves: Sequence[Any],
    run: Callable[[Sequence[Any], Phase], None],
    take: Callable[[Any, int, Samples], Any],
) -> FoundBatch:
    """Run the model on all samples, then on some, where they are known to lie along axis 0.

    Args:
        leaves: All tensors in the inputs; those of the first one's length hold samples.
        run: Runs the model with other tensors in the place of the leaves.
        take: Takes samples of a tensor along an axis.
    """
    lengths = [int(leaf.shape[0]) if len(leaf.shape) else 0 for leaf in leaves]
    count = next((length for length in lengths if length), 0)
    if not count:
        return FoundBatch(batch=Batch(reason="the inputs hold no samples"))
    samples = another_number(count)
    held = [length == count for length in lengths]
    try:
        run(leaves, Phase.WHOLE)
        pairs = zip(leaves, held, strict=True)
        run([take(leaf, 0, samples) if is_held else leaf for leaf, is_held in pairs], Phase.PART)
    except Exception as error:  # the user's code, on other inputs than it knows
        reason = f"the model does not run on another number of samples ({type(error).__name__})"
        return FoundBatch(batch=Batch(reason=reason))
    axes = {id(leaf): 0 for leaf, is_held in zip(leaves, held, strict=True) if is_held}
    return FoundBatch(batch=Batch(size=count), samples=samples, axes=axes)


def runs_apart(
    leaves: Sequence[Any],
    axes: Sequence[int | None],
    samples: Samples,
    run: Callable[[Sequence[Any], Phase], Sequence[Array]],
    take: Callable[[Any, int, Samples], Any],
    whole: Sequence[Array],
    tolerance: float,
) -> bool:
    """Whether the model runs on samples along some axes, and each has the output it had before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            some = [
                leaf if axis is None else take(leaf, axis, samples)
                for leaf, axis in zip(leaves, axes, strict=True)
            ]
            part = run(some, Phase.PART)
        except Exception:  # the user's code, called in a way that may not fit
            return False
    return all_follow(whole, part, samples, tolerance)


def candidates(shapes: Sequence[Shape]) -> Iterator[tuple[int, tuple[int | None, ...]]]:
    """Yield the number of samples and their axis in each input, the likeliest first.

    Args:
        shapes: Shapes of the inputs.
    """
    seen = set()
    for number, shape in enumerate(shapes):
        for axis, count in enumerate(shape):
            choices = [list(axes_of_size(other, count, axis)) for other in shapes]
            choices[number] = [axis]
            for axes in islice(product(*choices), _MOST_TOGETHER):
                if axes not in seen and count > 0:
                    seen.add(axes)
                    yield count, axes


def axes_of_size(shape: Shape, size: int, first: int) -> Iterator[int | None]:
    """Yield the axes of a size, a given one first; then None: it holds no samples."""
    fitting = [axis for axis, found in enumerate(shape) if found == size]
    yield from sorted(fitting, key=lambda axis: axis != first)
    yield None


def could_follow(outputs: Sequence[Array], count: int) -> bool:
    """Whether an output has an axis for a number of samples, alone or merged with others."""
    return any(size and size % count == 0 for output in outputs for size in output.shape)


def all_follow(
    whole: Sequence[Array], part: Sequence[Array], samples: Samples, tolerance: float
) -> bool:
    """Whether outputs on some samples are what these samples had among all.

    Single numbers (losses) say nothing. All else follows the samples or does not change; at least
    one output follows.
    """
    if len(whole) != len(part):
        return False
    pairs = [(one, two) for one, two in zip(whole, part, strict=True) if one.shape]
    still = [one.shape == two.shape and agree(one, two, tolerance) for one, two in pairs]
    moving = [follows(one, two, samples, tolerance) for one, two in pairs]
    return any(moving) and all(one or two for one, two in zip(still, moving, strict=True))


def follows(whole: Array, part: Array, samples: Samples, tolerance: float) -> bool:
    """Whether one output holds samples along one axis, perhaps merged with another axis."""
    axis = changed_axis(whole.shape, part.shape)
    count, new = samples.count, len(samples.taken)
    if axis is None or whole.shape[axis] % count or part.shape[axis] % new:
        return False  # its sizes are none of merged samples
    if whole.shape[axis] // count != part.shape[axis] // new:
        return False
    one, two = np.moveaxis(whole, axis, 0), np.moveaxis(part, axis, 0)
    places, taken = samples.kept
    major = one.reshape(count, -1)[taken], two.reshape(new, -1)[places]
    minor = (
        one.reshape(-1, count, *one.shape[1:])[:, taken],
        two.reshape(-1, new, *two.shape[1:])[:, places],
    )
    return any(bool(np.isfinite(a).any()) and agree(a, b, tolerance) for a, b in (major, minor))


def changed_axis(one: Shape, two: Shape) -> int | None:
    """The only axis in which two shapes differ, or None."""
    if len(one) != len(two):
        return None
    changed = [axis for axis, sizes in enumerate(zip(one, two, strict=True)) if len({*sizes}) > 1]
    return changed[0] if len(changed) == 1 else None


def agree(one: Array, two: Array, tolerance: float) -> bool:
    """Whether two arrays of a shape are equal up to rounding; NaN equals NaN."""
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(two)):
        return False
    if one.dtype.kind not in "fc":
        return np.array_equal(one, two)
    scale = float(np.abs(one[finite]).max(initial=0.0))
    return float(np.abs(one[finite] - two[finite]).max(initial=0.0)) <= tolerance * scale


def sample_axes(
    whole: Iterable[Shape], part: Iterable[Shape], samples: Samples
) -> tuple[int, ...] | None:
    """The axis that holds the samples in every call of one value: (axis,), () or None.

    Args:
        whole: The value's shape in each call of the run on all samples.
        part: The same in the run on some.
        samples: These.

    Returns:
        () where no size depends on the samples; None where they lie along no axis of their own, or
        where calls differ.
    """
    found = {axes_between(one, two, samples) for one, two in zip(whole, part, strict=True)}
    return found.pop() if len(found) == 1 else None


def axes_between(one: Shape, two: Shape, samples: Samples) -> tuple[int, ...] | None:
    """The axis that holds the samples in one call: (axis,), () or None."""
    if one == two:
        return ()
    axis = changed_axis(one, two)
    sizes = (samples.count, len(samples.taken))
    return (axis,) if axis is not None and (one[axis], two[axis]) == sizes else None


def axes_of_calls(
    shapes: Mapping[Phase, Sequence[Shapes]], samples: Samples | None
) -> dict[str, tuple[int, ...] | None]:
    """The axes of the samples in each operand and output of a place, by the name in `Shapes`.

    Args:
        shapes: Shapes of all calls in both runs.
        samples: The samples of the second run; None where there was none.
    """
    whole, part = shapes.get(Phase.WHOLE, ()), shapes.get(Phase.PART, ())
    if samples is None or len(whole) != len(part) or not whole:
        return {}
    names = set(whole[0])
    if any(set(call) != names for call in (*whole, *part)):
        return {}
    return {
        name: sample_axes((call[name] for call in whole), (call[name] for call in part), samples)
        for name in names
    }


def feature_means(values: Array) -> tuple[tuple[float, ...], ...]:
    """Mean of each feature along each axis, in six digits; none along longer axes.

    Args:
        values: An input of real numbers.
    """
    return tuple(
        tuple(
            float(f"{number:.6g}")
            for number in values.mean(axis=tuple(a for a in range(values.ndim) if a != axis))
        )
        if 0 < size <= _MOST_FEATURES and values.size
        else ()
        for axis, size in enumerate(values.shape)
    )
