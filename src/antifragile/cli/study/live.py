"""Live display of a running study on stderr; plain lines without a terminal."""

from __future__ import annotations

import time

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from antifragile.cli.console import stderr
from antifragile.study.progress import StudyProgress

_LINE_EVERY_S = 10.0


class StudyDisplay:
    """Shows a study's progress; a listener for `run_study` and a context manager."""

    def __init__(self) -> None:
        self._console = stderr()
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._said_at = float("-inf")

    def __enter__(self) -> StudyDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._live.stop()

    def __call__(self, progress: StudyProgress) -> None:
        """Show the progress as it is now."""
        if self._live.is_started:
            self._live.update(_panel(progress), refresh=True)
        elif time.monotonic() - self._said_at >= _LINE_EVERY_S or progress.share_done == 1:
            self._said_at = time.monotonic()
            self._console.print(_line(progress), soft_wrap=True)


def _panel(progress: StudyProgress) -> Group:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("running", ", ".join(progress.running) or "-")
    grid.add_row("best so far", _best(progress))
    grid.add_row("time", f"{clock(progress.seconds)}, {_left(progress)}")
    head = f"study {progress.study.spec.name}: {_counts(progress)}"
    return Group(Text(head), ProgressBar(total=1, completed=progress.share_done, width=60), grid)


def _line(progress: StudyProgress) -> str:
    return (
        f"study {progress.study.spec.name}: {100 * progress.share_done:3.0f} %, "
        f"{_counts(progress)}, best {_best(progress)}, {clock(progress.seconds)}, {_left(progress)}"
    )


def _left(progress: StudyProgress) -> str:
    if progress.share_done == 1:
        return "done"
    if progress.seconds_left is None:
        return "time left unknown yet"
    return f"about {clock(progress.seconds_left)} left"


def _counts(progress: StudyProgress) -> str:
    return f"{progress.stored.n_finished}/{progress.study.spec.n_trials} trials"


def _best(progress: StudyProgress) -> str:
    if progress.stored.best is None:
        return "-"
    correct, architecture, mode = progress.stored.best
    return f"{100 * correct / progress.study.data.n_validation:.2f} % ({architecture} {mode})"


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
