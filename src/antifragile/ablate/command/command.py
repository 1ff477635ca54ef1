"""A command that trains, as the user types it, with places for the seed and the output folder.

    python train.py --config small.yaml --seed {seed} --out {out}

It is split into words as a shell would split it, and run without a shell. These are filled in for
each run; ``{{`` and ``}}`` are braces.

    {seed}, {out}      the run's seed, and a folder of its own
    {order}            a seed of the batch order: what a function is handed as data_order_seed
    {init}, {stream}   the seeds under which the function form builds the model, and draws after it
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from antifragile.errors import UsageError, nearest

SEEDS = ("seed", "order", "init", "stream")
PLACES = (*SEEDS, "out")
_OF_A_SHELL = ("|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "2>&1")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, and where it is started.

    Args:
        words: Its words, the first one the program.
        folder: The folder where it is started, absolute.
        repository: The root of the user's files, absolute: what a run sees a copy of.
        reseeds: Whether a run's seed takes the place of the constants that the script seeds with.
        threads: Threads of a run.
    """

    words: tuple[str, ...]
    folder: str
    repository: str
    reseeds: bool = False
    threads: int = 1

    @classmethod
    def read(cls, text: str, *, folder: Path, reseeds: bool = False, threads: int = 1) -> Command:
        """Split and check a command.

        Args:
            text: The command.
            folder: Where it is started.
            reseeds: See the attributes.
            threads: See the attributes.

        Raises:
            UsageError: It is empty, needs a shell, has an unknown place, or there is no such
                program.
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"--command {text!r} cannot be split into words: {error}.") from None
        if not words:
            raise UsageError("--command is empty; write it as in 'python train.py --seed {seed}'.")
        if shell := [word for word in words if word in _OF_A_SHELL]:
            raise UsageError(
                f"--command is run without a shell, which {shell[0]!r} asks for; put the line into "
                "a script and give 'sh script.sh {seed} {out}'."
            )
        for word in words:
            filled(word, dict.fromkeys(PLACES, ""), "--command")
        here = folder.resolve()
        if not here.is_dir():
            raise UsageError(f"--command is started in {here}, which is not there; give it anew.")
        if shutil.which(words[0]) is None and not (here / words[0]).is_file():
            raise UsageError(f"--command starts with {words[0]!r}, which is no program here.")
        return cls(
            words=tuple(words),
            folder=str(here),
            repository=str(repository_of(here)),
            reseeds=reseeds,
            threads=threads,
        )

    def takes(self, place: str) -> bool:
        """Whether a place stands in one of its words."""
        return any(place in places_in(word) for word in self.words)

    def filled(self, places: Mapping[str, str]) -> list[str]:
        """Return its words with the places filled in."""
        return [filled(word, places, "--command") for word in self.words]


def places_in(text: str) -> set[str]:
    """Return the names of a text's places; doubled braces are none."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def filled(text: str, places: Mapping[str, str], option: str) -> str:
    """Fill in the places of a text.

    Args:
        text: A text with places like ``{seed}``.
        places: Values of the places, by name.
        option: The option that the text was given with, for the message.

    Raises:
        UsageError: A brace is alone, or a place is unknown.
    """
    parts = []
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r}: {error}; write {{{{ and }}}} for plain braces."
        ) from None
    for before, name, form, conversion in parsed:
        parts.append(before)
        if name is None:
            continue
        if name not in places or form or conversion:
            hint = nearest(name, list(places))
            raise UsageError(
                f"{option} {text!r}: unknown place {{{name}}}; {hint} "
                "Write {{ and }} for plain braces."
            )
        parts.append(places[name])
    return "".join(parts)


def repository_of(folder: Path) -> Path:
    """Find the root of the user's files: the nearest folder under version control, or this one."""
    for place in (folder, *folder.parents):
        if (place / ".git").exists():
            return place
    return folder
