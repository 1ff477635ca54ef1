"""Recurrent networks: a unit's rows of all gates, its column in its own weight and its readers'."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.model.units.expected import (
    Case,
    Entries,
    Expected,
    columns,
    heads,
    joined,
    lively,
    numbers,
    rows,
    tokens,
)


def gate_rows(layer: str, unit: int, *, gates: int, width: int) -> Entries:
    """Return rows i, H+i, ... of both weights and both biases of one direction of a layer."""
    places = [gate * width + unit for gate in range(gates)]
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {layer.replace("*", kind): places for kind in kinds}


def column(parameter: str, unit: int) -> Entries:
    return {parameter: [(slice(None), unit)]}


class Recurrent(nn.Module):
    """A recurrent layer and a head that reads the mean over time."""

    def __init__(self, recurrent: nn.RNNBase, width: int) -> None:
        super().__init__()
        self.rnn = recurrent
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.rnn(x)
        return self.head(hidden.mean(dim=1))


def lstm() -> nn.Module:
    torch.manual_seed(40)
    return lively(Recurrent(nn.LSTM(3, 4, batch_first=True), 4), 40)


LSTM = Case(
    name="LSTM",
    build=lstm,
    inputs=lambda: (numbers(3, 4, 3),),
    hidden=lambda: [
        Expected(
            kind="neuron",
            incoming=gate_rows("rnn.*_l0", i, gates=4, width=4),
            outgoing=joined(column("rnn.weight_hh_l0", i), columns("head", i)),
        )
        for i in range(4)
    ],
    output=lambda: heads("head", 2),
)


def deep_lstm() -> nn.Module:
    torch.manual_seed(41)
    recurrent = nn.LSTM(3, 2, num_layers=2, bidirectional=True, batch_first=True)
    return lively(Recurrent(recurrent, 4), 41)


DEEP_LSTM = Case(
    name="LSTM of two layers, both directions",
    build=deep_lstm,
    inputs=lambda: (numbers(3, 4, 3),),
    hidden=lambda: [
        # Layer 1 reads [forward 0, forward 1, reverse 0, reverse 1], in both of its directions.
        *(
            Expected(
                kind="neuron",
                incoming=gate_rows(f"rnn.*_l0{direction}", i, gates=4, width=2),
                outgoing=joined(
                    column(f"rnn.weight_hh_l0{direction}", i),
                    column("rnn.weight_ih_l1", first + i),
                    column("rnn.weight_ih_l1_reverse", first + i),
                ),
            )
            for direction, first in (("", 0), ("_reverse", 2))
            for i in (0, 1)
        ),
        *(
            Expected(
                kind="neuron",
                incoming=gate_rows(f"rnn.*_l1{direction}", i, gates=4, width=2),
                outgoing=joined(
                    column(f"rnn.weight_hh_l1{direction}", i), columns("head", first + i)
                ),
            )
            for direction, first in (("", 0), ("_reverse", 2))
            for i in (0, 1)
        ),
    ],
    output=lambda: heads("head", 2),
)


class Tagger(nn.Module):
    """An embedding, a GRU and a head at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 3)
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, words: Tensor) -> Tensor:
        hidden, _ = self.gru(self.embedding(words))
        return self.head(hidden)


def gru() -> nn.Module:
    torch.manual_seed(42)
    return lively(Tagger(), 42)


GRU = Case(
    name="GRU over an embedding",
    build=gru,
    inputs=lambda: (tokens(3, 5, below=6),),
    hidden=lambda: [
        *(
            Expected(
                kind="channel",
                incoming=columns("embedding", j),
                outgoing=column("gru.weight_ih_l0", j),
            )
            for j in range(3)
        ),
        *(
            Expected(
                kind="neuron",
                incoming=gate_rows("gru.*_l0", i, gates=3, width=4),
                outgoing=joined(column("gru.weight_hh_l0", i), columns("head", i)),
            )
            for i in range(4)
        ),
    ],
    output=lambda: heads("head", 2),
)


class Unrolled(nn.Module):
    """An LSTM cell in a loop of one's own; the head reads the last hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 2)
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(dim=1):
            state = self.cell(step, state)
        return self.head(state[0])


def unrolled() -> nn.Module:
    torch.manual_seed(43)
    return lively(Unrolled(), 43)


UNROLLED = Case(
    name="LSTM cell in a loop",
    build=unrolled,
    inputs=lambda: (numbers(3, 3, 3),),
    hidden=lambda: [
        Expected(
            kind="neuron",
            incoming=gate_rows("cell.*", i, gates=4, width=2),
            outgoing=joined(column("cell.weight_hh", i), columns("head", i)),
        )
        for i in (0, 1)
    ],
    output=lambda: heads("head", 2),
)


class Elman(nn.Module):
    """The oldest recurrence, written out: one layer reads a step and the state side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(2 + 3, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(len(x), 3)
        for step in x.unbind(dim=1):
            hidden = torch.tanh(self.step(torch.cat([step, hidden], dim=1)))
        return self.head(hidden)


def elman() -> nn.Module:
    torch.manual_seed(44)
    return lively(Elman(), 44)


ELMAN = Case(
    name="hand-written recurrence",
    build=elman,
    inputs=lambda: (numbers(3, 3, 2),),
    hidden=lambda: [
        Expected(
            kind="neuron",
            incoming=rows("step", i),
            outgoing=joined(columns("step", 2 + i), columns("head", i)),
        )
        for i in range(3)
    ],
    output=lambda: heads("head", 2),
)


class TwoLayerElman(nn.Module):
    """The same with two layers, whose results are added: a step's and the state's."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.state = nn.Linear(2, 3), nn.Linear(3, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(len(x), 3)
        for step in x.unbind(dim=1):
            hidden = torch.tanh(self.step(step) + self.state(hidden))
        return self.head(hidden)


def two_layer_elman() -> nn.Module:
    torch.manual_seed(45)
    return lively(TwoLayerElman(), 45)


TWO_LAYER_ELMAN = Case(
    name="hand-written recurrence of two layers",
    build=two_layer_elman,
    inputs=lambda: (numbers(3, 3, 2),),
    hidden=lambda: [
        Expected(
            kind="neuron",
            incoming=joined(rows("step", i), rows("state", i)),
            outgoing=joined(columns("state", i), columns("head", i)),
        )
        for i in range(3)
    ],
    output=lambda: heads("head", 2),
)

RECURRENT = [LSTM, DEEP_LSTM, GRU, UNROLLED, ELMAN, TWO_LAYER_ELMAN]
