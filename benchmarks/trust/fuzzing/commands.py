"""Every verb as a real command, with a broken file, option or argument."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from antifragile.cli.main import run
from antifragile.errors import UsageError
from benchmarks.trust.fuzzing.mutations import (
    WORDS,
    mutate_bytes,
    mutate_data,
    mutate_store,
    mutate_text,
)
from benchmarks.trust.fuzzing.processes import run_command

TIME_LIMIT_S = 20
COMMANDS = (
    "landscape --json",
    "train --dataset tiny --arch 1*4 --mode full --meta-loops 2 --out new",
    "train --dataset tiny --arch 1*4 --meta-loops 4 --out out --resume",
    "classify trials.csv --zero-r 10 --rules complete",
    "compare-modes trials.csv --zero-r 10 --measure test",
    "size trials.csv --zero-r 10",
    "table V trials.csv --zero-r 10 --format csv",
    "figure baseline-performance trials.csv --zero-r 10 --out f.svg",
    "report trials.csv --zero-r 10 --convergence curves.csv --out page",
    "compare runs.db trials.csv --zero-r 10 --out page",
    "data info npz:data.npz --no-download",
    "data list --json",
    "study run spec.toml --store runs.db --workers 1",
    "study plan spec.toml --store runs.db",
    "study extend --store runs.db --trials 3 --workers 1",
    "study status --store runs.db",
    "study summary --store runs.db --measure test",
    "study export --store runs.db --table trials --format json",
    "ablate discover --source model.py --build model.py:build --inputs model.py:inputs --timeout 8",
    "ablate generate --source model.py --build model.py:build --inputs model.py:inputs --out v "
    "--workers 1 --timeout 8",
    "ablate run variants --experiment train.py:run --seeds 2 --workers 1 --timeout 8",
    "ablate run variants --manifest variants/manifest.json --name again --workers 1 --timeout 8",
    "ablate report variants/manifest.json",
    "ablate report variants/ablation.db --format html --out page",
    "perturb list",
)
_NEW_EVERY = 10  # commands of a verb; the others are forks
_STARTS_PROCESSES = ("ablate discover", "ablate generate", "ablate run")
_FORBIDDEN = (
    *("internal error", "Traceback (most recent call last)", "\x1b"),
    *("np.float64(", "np.int64(", "object at 0x"),
)
_WARNING = re.compile(r"\.py:\d+: \w*Warning: ")
_FILES = (".toml", ".csv", ".npz", ".db", ".json", ".safetensors", ".py")


@dataclass(frozen=True)
class Command:
    """A verb with a good command line.

    Args:
        words: The words after the program's name.
        good: Folder of the good inputs.
    """

    words: Sequence[str]
    good: Path

    @property
    def name(self) -> str:
        """The verb, with the option that tells two lines of one verb apart."""
        n_words = 2 if self.words[0] in ("data", "study", "ablate", "perturb") else 1
        marks = [word for word in self.words if word in ("--resume", "--manifest", "--format")]
        return " ".join([*self.words[:n_words], *marks])

    def broken(self, folder: Path, rng: random.Random) -> list[str]:
        """Copy the good inputs into a folder and break one, or a word of the command line."""
        shutil.copytree(self.good, folder, dirs_exist_ok=True)
        words = list(self.words)
        if rng.random() < 0.5:
            _break_a_file(folder, words, rng)
        else:
            _break_a_word(words, rng)
        return [word.replace("\0", "") for word in words]

    def try_one(self, number: int, seed: int, kept: Path) -> tuple[str, str]:
        """Run the verb once with something broken; see `fuzz.try_reader`."""
        rng = random.Random(f"{seed} {' '.join(self.words)} {number}")
        folder = Path(tempfile.mkdtemp(prefix="antifragile-fuzz-"))
        try:
            words = self.broken(folder, rng)
            outcome, said = _run(folder, words, is_new=number % _NEW_EVERY == 0)
            if outcome == "fault":
                place = kept / f"{self.name} {number}"
                shutil.copytree(folder, place, dirs_exist_ok=True, symlinks=True)
                (place / "command").write_text(shlex.join(words), errors="surrogateescape")
            return outcome, said
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def all_commands(good: Path) -> tuple[Command, ...]:
    """Every verb."""
    return tuple(Command(shlex.split(line), good) for line in COMMANDS)


def _run(folder: Path, words: list[str], *, is_new: bool) -> tuple[str, str]:
    environment = {
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "OMP_NUM_THREADS": "1",
    }
    code, said = run_command(words, folder, environment, limit_s=TIME_LIMIT_S, is_new=is_new)
    if code is None:
        return "fault", f"over {TIME_LIMIT_S} s: {shlex.join(words)[:500]}"
    return _judge(code, said, words)


def run_here(given: tuple[Path, list[str]]) -> None:
    """Run a command line in this process, which has loaded the libraries already.

    Raises:
        UsageError: It was refused, in a sentence.
        AssertionError: It ended in another way.
    """
    folder, words = given
    said = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # of glyphs that a font lacks
        code = run(words)
    outcome, text = _judge(code, said.getvalue(), words)
    if outcome == "fault":
        raise AssertionError(text)
    if outcome == "refused":
        raise UsageError(text)


def write_here(good: Path, folder: Path, rng: random.Random) -> tuple[Path, list[str]]:
    """Break a command line of a verb that starts no process, for `run_here`."""
    command = rng.choice(
        [c for c in all_commands(good) if not c.name.startswith(_STARTS_PROCESSES)]
    )
    return folder, command.broken(folder, rng)


def _judge(code: int, said: str, words: Sequence[str]) -> tuple[str, str]:
    """Say what became of a command by its exit code and all it printed."""
    line = shlex.join(words)[:300]
    found = [text for text in _FORBIDDEN if text in said]
    if code not in (0, 1, 2) or found or _WARNING.search(said):
        return "fault", f"exit code {code}: {line}: {said[-500:]}"
    return ("accepted", "") if code == 0 else ("refused", said)


def _break_a_file(folder: Path, words: list[str], rng: random.Random) -> None:
    """Change a file that the command reads."""
    named = [Path(word.removeprefix("npz:").partition(":")[0]) for word in words]
    files = [folder / name for name in named if (folder / name).is_file() and name.suffix in _FILES]
    for folder_name in ("out", "variants"):
        if folder_name in words:
            files += [p for p in sorted((folder / folder_name).rglob("*")) if p.suffix in _FILES]
    if not files:
        _break_a_word(words, rng)
        return
    path = rng.choice(files)
    if path.suffix == ".db":
        mutate_store(path, rng)
    elif path.suffix in (".npz", ".safetensors"):
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    elif path.suffix == ".json" and rng.random() < 0.7:
        path.write_text(json.dumps(mutate_data(json.loads(path.read_text()), rng)))
    else:
        text = mutate_text(path.read_text(), rng)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _break_a_word(words: list[str], rng: random.Random) -> None:
    """Change, drop, repeat or add a word of the command line."""
    at = rng.randrange(1, len(words)) if len(words) > 1 else 0
    steps: tuple[Callable[[], object], ...] = (
        lambda: words.__setitem__(at, mutate_text(words[at], rng)[:3000]),
        lambda: words.__setitem__(at, rng.choice(WORDS)[:3000]),
        lambda: words.pop(at),
        lambda: words.insert(at, words[at]),
        lambda: words.insert(at, rng.choice(WORDS)[:3000]),
    )
    rng.choice(steps)()
