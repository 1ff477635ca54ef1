"""A decoder as libraries write it: attention chosen by a setting, rotary embeddings, norms."""

import torch
from torch import nn


def as_given(value, otherwise):
    return otherwise if value is None else value


def rotate_half(x):
    one, other = x.chunk(2, dim=-1)
    return torch.cat((-other, one), dim=-1)


def apply_rotary(query, key, cos, sin):
    return query * cos + rotate_half(query) * sin, key * cos + rotate_half(key) * sin


def plain_attention(module, query, key, value, **options):
    weights = (query @ key.transpose(-1, -2) * module.scaling).softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


ATTENTIONS = {"plain": plain_attention}


class RotaryEmbedding(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("steps", 0.1 ** (torch.arange(0, width, 2) / width))

    def forward(self, x, places):
        angles = places[:, None] * self.steps
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.kind, self.scaling = heads, "plain", (width // heads) ** -0.5
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, hidden_states, position_embeddings=None, context=None, **options):
        shape = (*hidden_states.shape[:-1], self.heads, -1)
        source = as_given(context, hidden_states)
        query = self.query(hidden_states).view(shape).transpose(1, 2)
        key = self.key(source).view(shape).transpose(1, 2)
        value = self.value(source).view(shape).transpose(1, 2)
        cos, sin = position_embeddings
        query, key = apply_rotary(query, key, cos, sin)
        attention_interface = ATTENTIONS[self.kind]
        found, weights = attention_interface(self, query, key, value, **options)
        return self.out(found.reshape(*hidden_states.shape[:-1], -1).contiguous()), weights


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, hidden_states, position_embeddings):
        residual = hidden_states
        hidden_states, _ = self.self_attn(
            hidden_states=self.norm(hidden_states), position_embeddings=position_embeddings
        )
        return residual + hidden_states


class Net(nn.Module):
    def __init__(self, width=8, heads=2):
        super().__init__()
        self.tokens = nn.Embedding(11, width)
        self.rotary = RotaryEmbedding(width // heads)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(2)])
        self.head = nn.Linear(width, 11)

    def forward(self, tokens):
        x = self.tokens(tokens)
        embeddings = self.rotary(x, torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x, embeddings)
        return self.head(x)


def build():
    return Net()


def inputs():
    return (torch.randint(11, (3, 6)),)
