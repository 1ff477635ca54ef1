"""Attention: one unit a head, whatever shape the projections have."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tests.model.units.expected import Case, Expected, columns, heads, lively, numbers, rows


class SelfAttention(nn.Module):
    """A stem, ``nn.MultiheadAttention`` without a skip, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.attention(x, x, x, need_weights=False)[0])


def self_attention() -> nn.Module:
    torch.manual_seed(50)
    return lively(SelfAttention(), 50)


def packed_head(attention: str, head: int) -> Expected:
    """Return a head of 3 among 6 features: its rows stand in q, k and v of the packed weight."""
    qkv = [slice(first + 3 * head, first + 3 * head + 3) for first in (0, 6, 12)]
    return Expected(
        kind="head",
        incoming={f"{attention}.in_proj_weight": qkv, f"{attention}.in_proj_bias": qkv},
        outgoing=columns(f"{attention}.out_proj", np.s_[3 * head : 3 * head + 3]),
    )


SELF_ATTENTION = Case(
    name="nn.MultiheadAttention",
    build=self_attention,
    inputs=lambda: (numbers(3, 4, 3),),
    hidden=lambda: [
        *(
            Expected(
                kind="neuron",
                incoming=rows("stem", i),
                outgoing={"attention.in_proj_weight": [np.s_[:, i]]},
            )
            for i in range(6)
        ),
        *(packed_head("attention", h) for h in (0, 1)),
        *(
            Expected(
                kind="neuron", incoming=rows("attention.out_proj", i), outgoing=columns("head", i)
            )
            for i in range(6)
        ),
    ],
    output=lambda: heads("head", 2),
)


class CrossAttention(nn.Module):
    """Queries of one size look at keys and values of other sizes: three separate weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=2, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.head(self.attention(query, key, value)[0])


def cross_attention() -> nn.Module:
    torch.manual_seed(51)
    return lively(CrossAttention(), 51)


CROSS_ATTENTION = Case(
    name="nn.MultiheadAttention with three weights and three inputs",
    build=cross_attention,
    inputs=lambda: (numbers(3, 2, 4), numbers(3, 5, 3, seed=2), numbers(3, 5, 2, seed=3)),
    hidden=lambda: [
        *(
            Expected(
                kind="head",
                incoming={
                    "attention.q_proj_weight": [pair],
                    "attention.k_proj_weight": [pair],
                    "attention.v_proj_weight": [pair],
                    "attention.in_proj_bias": [pair, next_four(pair), next_four(next_four(pair))],
                },
                outgoing=columns("attention.out_proj", pair),
            )
            for pair in (np.s_[0:2], np.s_[2:4])
        ),
        *(
            Expected(
                kind="neuron", incoming=rows("attention.out_proj", i), outgoing=columns("head", i)
            )
            for i in range(4)
        ),
    ],
    output=lambda: heads("head", 2),
)


def next_four(entries: slice) -> slice:
    return slice(entries.start + 4, entries.stop + 4)


class Encoder(nn.Module):
    """One ``nn.TransformerEncoderLayer`` between a stem and a head."""

    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 6)
        self.layer = nn.TransformerEncoderLayer(
            6, 2, dim_feedforward=5, batch_first=True, norm_first=norm_first
        )
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.stem(x)).mean(dim=1))


def encoder(*, norm_first: bool) -> nn.Module:
    torch.manual_seed(52)
    return lively(Encoder(norm_first=norm_first), 52)


ENCODERS = [
    Case(
        name=name,
        build=lambda norm_first=norm_first: encoder(norm_first=norm_first),
        inputs=lambda: (numbers(3, 4, 3),),
        hidden=lambda: [
            *(packed_head("layer.self_attn", h) for h in (0, 1)),
            *(
                Expected(
                    kind="neuron",
                    incoming=rows("layer.linear1", i),
                    outgoing=columns("layer.linear2", i),
                )
                for i in range(5)
            ),
        ],
        output=lambda: heads("head", 2),
        refused={"stem": "norm", "layer.self_attn.out_proj": "norm", "layer.linear2": "norm"},
        unowned=[f"layer.norm{n}.{end}" for n in (1, 2) for end in ("weight", "bias")],
    )
    for name, norm_first in (("post-norm encoder layer", False), ("pre-norm encoder layer", True))
]


class FusedAttention(nn.Module):
    """Attention with one linear for q, k and v, cut into heads in either order.

    ``order`` is "qkv, heads" (rows of q of all heads come first) or "heads, qkv" (all rows of
    head 0 come first).
    """

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order
        self.qkv, self.projection = nn.Linear(3, 3 * 2 * 2), nn.Linear(4, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        if self.order == "qkv, heads":
            packed = self.qkv(x).view(batch, time, 3, 2, 2)
        else:
            packed = self.qkv(x).view(batch, time, 2, 3, 2).transpose(2, 3)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(self.projection(mixed.transpose(1, 2).reshape(batch, time, 4)))


def fused(order: str) -> nn.Module:
    torch.manual_seed(53)
    return lively(FusedAttention(order), 53)


FUSED_ROWS = {
    "qkv, heads": [
        [np.s_[0:2], np.s_[4:6], np.s_[8:10]],
        [np.s_[2:4], np.s_[6:8], np.s_[10:12]],
    ],
    "heads, qkv": [[np.s_[0:6]], [np.s_[6:12]]],
}

FUSED = [
    Case(
        name=f"one linear for q, k and v: {order}",
        build=lambda order=order: fused(order),
        inputs=lambda: (numbers(3, 4, 3),),
        hidden=lambda order=order: [
            *(
                Expected(
                    kind="head",
                    incoming={"qkv.weight": places, "qkv.bias": places},
                    outgoing=columns("projection", np.s_[2 * h : 2 * h + 2]),
                )
                for h, places in enumerate(FUSED_ROWS[order])
            ),
            *(
                Expected(kind="neuron", incoming=rows("projection", i), outgoing=columns("head", i))
                for i in range(3)
            ),
        ],
        output=lambda: heads("head", 2),
    )
    for order in FUSED_ROWS
]


class EinsumAttention(nn.Module):
    """Attention as equations over parameters of (features, heads, size), softmax by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.zeros(3, 2, 2)) for _ in range(3))
        self.out = nn.Parameter(torch.zeros(2, 2, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("btf,fhs->bhts", x, w) for w in (self.q, self.k, self.v))
        weights = torch.softmax(torch.einsum("bhts,bhus->bhtu", q, k) / 2**0.5, dim=-1)
        mixed = torch.einsum("bhtu,bhus->bhts", weights, v)
        return self.head(torch.einsum("bhts,hsf->btf", mixed, self.out))


def einsum_attention() -> nn.Module:
    torch.manual_seed(54)
    return lively(EinsumAttention(), 54)


EINSUM_ATTENTION = Case(
    name="attention written with einsum",
    build=einsum_attention,
    inputs=lambda: (numbers(3, 4, 3),),
    hidden=lambda: [
        *(
            Expected(
                kind="head",
                incoming={name: [np.s_[:, h]] for name in ("q", "k", "v")},
                outgoing={"out": [np.s_[h]]},
            )
            for h in (0, 1)
        ),
        *(
            Expected(
                kind="neuron",
                incoming={"out": [np.s_[:, :, i]]},
                outgoing=columns("head", i),
            )
            for i in range(4)
        ),
    ],
    output=lambda: heads("head", 2),
)

ATTENTION = [SELF_ATTENTION, CROSS_ATTENTION, *ENCODERS, *FUSED, EINSUM_ATTENTION]
