"""A training step that CUDA records once and replays: one launch instead of hundreds.

A deep and narrow network is a long chain of tiny products; on a GPU each would wait for the
processor to launch it. A CUDA graph holds the whole chain. What a step may do is bound by that: the
same operations on the same memory every time, nothing read back, nothing made from host values
(`tests/fleet/test_recorded_step.py` holds the torch kernel to it on any machine).

Shape letters: G groups, B samples in a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 3  # eager steps before recording: buffers of the optimizer and of the libraries exist


class RecordedStep:
    """Calls ``body(rows)`` for every batch; on CUDA from a recording, after a warm-up.

    Args:
        body: One training step on the samples of ``rows`` (G, B) int64.
        rows: The first batch; batches of another shape (the short last one) run unrecorded.
    """

    def __init__(self, body: Callable[[Tensor], None], rows: Tensor) -> None:
        self.body, self.rows = body, rows.clone()
        self.recording: torch.cuda.CUDAGraph | None = None
        self.eager_steps_left = _WARM_UP

    def __call__(self, rows: Tensor) -> None:
        """Do the step for this batch."""
        if not rows.is_cuda or rows.shape != self.rows.shape:
            self.body(rows)
            return
        self.rows.copy_(rows)
        if self.eager_steps_left:
            self._warm_up()
            return
        if self.recording is None:
            self.recording = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.recording):
                self.body(self.rows)
        self.recording.replay()  # recording alone computes nothing

    def _warm_up(self) -> None:
        """A real step, on a side stream as recording asks for."""
        self.eager_steps_left -= 1
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types here
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.body(self.rows)
        torch.cuda.current_stream().wait_stream(stream)
