"""Findings about pairs of runs, from the notes of their start-up hooks."""

from __future__ import annotations

from antifragile.ablate.command.notes import RunNotes


def unpaired(baseline: RunNotes, run: RunNotes, own_values: tuple[str, ...]) -> str:
    """Say, as a clause, how a run starts from other values than the baseline; empty if it does not.

    Args:
        baseline: Notes of the baseline's run of the same seed.
        run: Notes of the run.
        own_values: Parameters that are to start from the run's own values.
    """
    if not any(baseline.first_step.values()):
        return "the command builds no model by a class of your files, or makes no step"
    differ, compared = [], 0
    for model, hashes in baseline.first_step.items():
        theirs = run.first_step.get(model)
        if theirs is None:
            return f"no {model.replace('#', ' number ')} was built"
        for name in hashes.keys() & theirs.keys():
            is_own = any(name == own or name.endswith(f".{own}") for own in own_values)
            shape, other = (text.partition(" ")[0] for text in (hashes[name], theirs[name]))
            if shape == other and not is_own:
                compared += 1
                differ += [name] if hashes[name] != theirs[name] else []
    if not differ:
        return ""
    return f"{len(differ)} of {compared} tensors differ at the first step, {min(differ)} among them"


def constants(some: RunNotes, others: RunNotes) -> list[str]:
    """List the calls that seed with the same constant under two seeds, as they stand in code."""
    return [
        f"{function}({value})"
        for function in sorted(some.seeded.keys() & others.seeded.keys())
        for value in sorted(some.seeded[function] & others.seeded[function])
    ]
