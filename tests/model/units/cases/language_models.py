"""Small language models: grouped queries, GPT-2's Conv1D, embeddings tied to the head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tests.model.units.expected import Case, Expected, columns, heads, joined, lively, rows, tokens


def attend(q: Tensor, k: Tensor, v: Tensor, *, n_heads: int, n_shared: int) -> Tensor:
    """Mix values causally; every ``n_heads / n_shared`` query heads share a key and a value."""
    batch, time, _ = q.shape
    q = q.view(batch, time, n_heads, -1).transpose(1, 2)
    k, v = (x.view(batch, time, n_shared, -1).transpose(1, 2) for x in (k, v))
    k, v = (x.repeat_interleave(n_heads // n_shared, dim=1) for x in (k, v))
    mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return mixed.transpose(1, 2).reshape(batch, time, -1)


class Llama(nn.Module):
    """RMSNorm, 4 query heads of 2 that share 2 keys and values, a gated MLP, an untied head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.norm1, self.norm2, self.norm3 = (nn.RMSNorm(4) for _ in range(3))
        self.q, self.o = nn.Linear(4, 8), nn.Linear(8, 4, bias=False)
        self.k, self.v = nn.Linear(4, 4), nn.Linear(4, 4)
        self.gate, self.up = nn.Linear(4, 5, bias=False), nn.Linear(4, 5, bias=False)
        self.down = nn.Linear(5, 4, bias=False)
        self.head = nn.Linear(4, 7, bias=False)

    def forward(self, words: Tensor) -> Tensor:
        x = self.embedding(words)
        y = self.norm1(x)
        x = x + self.o(attend(self.q(y), self.k(y), self.v(y), n_heads=4, n_shared=2))
        y = self.norm2(x)
        x = x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))
        return self.head(self.norm3(x))


def llama() -> nn.Module:
    torch.manual_seed(60)
    return lively(Llama(), 60)


LLAMA = Case(
    name="grouped-query attention with RMSNorm",
    build=llama,
    inputs=lambda: (tokens(3, 5, below=7),),
    hidden=lambda: [
        *(  # a head whose query is zero still attends to all, evenly
            Expected(
                kind="head",
                incoming=rows("q", np.s_[2 * h : 2 * h + 2]),
                outgoing=columns("o", np.s_[2 * h : 2 * h + 2]),
                silent=False,
            )
            for h in range(4)
        ),
        *(
            Expected(
                kind="neuron",
                incoming=joined(rows("gate", i, bias=False), rows("up", i, bias=False)),
                outgoing=columns("down", i),
            )
            for i in range(5)
        ),
    ],
    output=lambda: heads("head", 7, bias=False),
    refused={"embedding": "norm", "o": "norm", "down": "norm"},
    unowned=[
        *(f"norm{n}.weight" for n in (1, 2, 3)),
        *(f"{name}.{end}" for name in ("k", "v") for end in ("weight", "bias")),
    ],
)


class Conv1D(nn.Module):
    """A linear layer with a weight of (in, out), as GPT-2 has it."""

    def __init__(self, n_out: int, n_in: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.zeros(n_in, n_out)),
            nn.Parameter(torch.zeros(n_out)),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight)
        return out.view(*x.shape[:-1], -1)


class GPT(nn.Module):
    """One block of GPT-2 with 2 heads of 2 and a head tied to the embedding.

    Args:
        norm: Makes the three norms of the stream; ``nn.Identity`` for none.
        linear: Makes a linear layer from its outputs and its inputs.
    """

    def __init__(self, norm: type[nn.Module], linear: type[nn.Module]) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(7, 4), nn.Embedding(5, 4)
        self.ln_1, self.ln_2, self.ln_f = norm(4), norm(4), norm(4)
        self.c_attn, self.c_proj = linear(12, 4), linear(4, 4)
        self.c_fc, self.mlp_proj = linear(6, 4), linear(4, 6)
        self.lm_head = nn.Linear(4, 7, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.wte(words) + self.wpe(torch.arange(words.shape[1]))
        q, k, v = self.c_attn(self.ln_1(x)).split(4, dim=-1)
        x = x + self.c_proj(attend(q, k, v, n_heads=2, n_shared=2))
        x = x + self.mlp_proj(nn.functional.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))
        return self.lm_head(self.ln_f(x))


def gpt2() -> nn.Module:
    torch.manual_seed(61)
    return lively(GPT(nn.LayerNorm, Conv1D), 61)


GPT2 = Case(
    name="GPT-2 with Conv1D and the embedding tied to the head",
    build=gpt2,
    inputs=lambda: (tokens(3, 5, below=7),),
    hidden=lambda: [
        *(  # columns write and rows read: the weights are (in, out)
            Expected(
                kind="head",
                incoming={
                    "c_attn.weight": [np.s_[:, pair] for pair in pairs],
                    "c_attn.bias": pairs,
                },
                outgoing={"c_proj.weight": [pairs[0]]},
            )
            for pairs in (
                [np.s_[0:2], np.s_[4:6], np.s_[8:10]],
                [np.s_[2:4], np.s_[6:8], np.s_[10:12]],
            )
        ),
        *(
            Expected(
                kind="neuron",
                incoming={"c_fc.weight": [np.s_[:, i]], "c_fc.bias": [i]},
                outgoing={"mlp_proj.weight": [i]},
            )
            for i in range(6)
        ),
    ],
    output=lambda: [],
    refused={
        "wte": "norm|tied",
        "wpe": "norm",
        "c_proj": "norm",
        "mlp_proj": "norm",
        "lm_head": "tied",
    },
    unowned=[f"{norm}.{end}" for norm in ("ln_1", "ln_2", "ln_f") for end in ("weight", "bias")],
)


def linear_layer(n_out: int, n_in: int) -> nn.Module:
    return nn.Linear(n_in, n_out)


def gpt_without_norm() -> nn.Module:
    torch.manual_seed(62)
    return lively(GPT(nn.Identity, linear_layer), 62)


GPT_WITHOUT_NORM = Case(
    name="GPT without norms, the embedding tied to the head",
    build=gpt_without_norm,
    inputs=lambda: (tokens(3, 5, below=7),),
    hidden=lambda: [
        *(  # column j of the tied weight writes channel j of the stream and reads it at the end
            Expected(
                kind="residual",
                incoming=joined(
                    columns("wte", j), columns("wpe", j), rows("c_proj", j), rows("mlp_proj", j)
                ),
                outgoing=joined(columns("c_attn", j), columns("c_fc", j), columns("wte", j)),
            )
            for j in range(4)
        ),
        *(
            Expected(
                kind="head",
                incoming={"c_attn.weight": pairs, "c_attn.bias": pairs},
                outgoing=columns("c_proj", pairs[0]),
            )
            for pairs in (
                [np.s_[0:2], np.s_[4:6], np.s_[8:10]],
                [np.s_[2:4], np.s_[6:8], np.s_[10:12]],
            )
        ),
        *(
            Expected(kind="neuron", incoming=rows("c_fc", i), outgoing=columns("mlp_proj", i))
            for i in range(6)
        ),
    ],
    output=lambda: [],
    refused={"lm_head": "tied"},
)


class TiedWords(nn.Module):
    """Two layers between an embedding and a head that is tied to it: no stream joins them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 3)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 3)
        self.head = nn.Linear(3, 6)
        self.head.weight = self.embedding.weight

    def forward(self, words: Tensor) -> Tensor:
        x = torch.relu(self.first(self.embedding(words)))
        return self.head(torch.tanh(self.second(x)))


def tied_words() -> nn.Module:
    torch.manual_seed(63)
    return lively(TiedWords(), 63)


TIED_WORDS = Case(
    name="embedding tied to the head of another layer",
    build=tied_words,
    inputs=lambda: (tokens(4, 3, below=6),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows("first", i), outgoing=columns("second", i))
        for i in range(4)
    ],
    output=lambda: [],
    # Column j of the one weight writes embedding channel j and reads neuron j of the last layer.
    refused={"embedding": "tied", "second": "tied", "head": "tied"},
)

LANGUAGE_MODELS = [LLAMA, GPT2, GPT_WITHOUT_NORM, TIED_WORDS]
