"""Live displays on stderr: a study's progress, a trial's bounty. Plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from antifragile.cli.console import stderr
from antifragile.config.architecture import Architecture
from antifragile.config.study import StudySpec
from antifragile.engine.records import MetaLoopRecord
from antifragile.study.options import Progress

_LINE_EVERY_S = 10.0
_BLOCKS = " ▁▂▃▄▅▆▇█"


class StudyDisplay:
    """Shows a study's progress; a listener for `run_study` and a context manager."""

    def __init__(self) -> None:
        self._console = stderr()
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._first_done: float | None = None
        self._said_at = float("-inf")

    def __enter__(self) -> StudyDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live.is_started:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Show the progress as it is now."""
        done = work_done(progress)
        if self._first_done is None:
            self._first_done = done
        if self._live.is_started:
            self._live.update(self._panel(progress, done), refresh=True)
        elif time.monotonic() - self._said_at >= _LINE_EVERY_S or done == 1:
            self._said_at = time.monotonic()
            self._console.print(self._line(progress, done), markup=False, soft_wrap=True)

    def _panel(self, progress: Progress, done: float) -> Group:
        grid = Table.grid(padding=(0, 2))
        grid.add_row("running", escape(", ".join(progress.running) or "-"))
        grid.add_row("best so far", escape(_best(progress)))
        grid.add_row("time", f"{clock(progress.seconds)}, {self._left(progress, done)}")
        head = f"study {progress.spec.name}: {_counts(progress)}"
        return Group(Text(head), ProgressBar(total=1, completed=done, width=60), grid)

    def _line(self, progress: Progress, done: float) -> str:
        return (
            f"study {progress.spec.name}: {100 * done:3.0f} %, {_counts(progress)}, "
            f"best {_best(progress)}, {clock(progress.seconds)}, {self._left(progress, done)}"
        )

    def _left(self, progress: Progress, done: float) -> str:
        gained = done - (self._first_done or 0)
        if done >= 1:
            return "done"
        if gained <= 0 or progress.seconds < 2:
            return "time left unknown yet"
        return f"about {clock(progress.seconds * (1 - done) / gained)} left"


def work_done(progress: Progress) -> float:
    """The share of the study's work that is recorded, each shape weighted by its likely cost."""
    spec = progress.spec
    per_architecture = len(spec.modes) * spec.trials * spec.meta_loops
    total = done = 0.0
    for architecture in spec.architectures:
        cost = _relative_cost(architecture)
        total += cost * per_architecture
        done += cost * min(progress.stored.records.get(architecture.name, 0), per_architecture)
    return done / total


def _relative_cost(architecture: Architecture) -> float:
    # Seconds per meta-loop of the plain engine on MNIST, fitted by eye over 4*4 to 2048*1:
    # only the proportions matter, for the time left.
    return 0.4 + 0.0175 * architecture.depth + 1.7e-6 * architecture.parameter_count()


def bounty_curve(
    records: Sequence[MetaLoopRecord], n_validation: int, *, width: int = 60, height: int = 8
) -> str:
    """The bounty over the meta-loops as text, one column per meta-loop or group of them.

    The vertical axis reaches from the lowest to the highest bounty, in percent.
    """
    values = [100 * record.bounty / n_validation for record in records]
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    low, high = min(values), max(values)
    eighths = [round((v - low) / ((high - low) or 1) * (height * 8 - 1)) + 1 for v in values]
    rows = []
    for row in range(height - 1, -1, -1):
        label = f"{high:6.2f} %" if row == height - 1 else f"{low:6.2f} %" if row == 0 else " " * 8
        cells = "".join(_BLOCKS[min(max(eighth - 8 * row, 0), 8)] for eighth in eighths)
        rows.append(f"{label} {cells}")
    return "\n".join(rows)


def _counts(progress: Progress) -> str:
    spec: StudySpec = progress.spec
    return f"{progress.stored.n_finished}/{spec.n_trials} trials"


def _best(progress: Progress) -> str:
    if progress.stored.best is None:
        return "-"
    correct, architecture, mode = progress.stored.best
    return f"{100 * correct / progress.data.n_validation:.2f} % ({architecture} {mode})"


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
