"""A transformer of subclassed layers: lists of blocks, attention, sums in `call`."""

import keras
import numpy as np
from keras import layers, ops


class Block(layers.Layer):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = layers.LayerNormalization()
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.norm2 = layers.LayerNormalization()
        self.wide = layers.Dense(2 * width)
        self.narrow = layers.Dense(width)
        self.dropout = layers.Dropout(0.1)

    def call(self, x, training=None):
        y = self.norm1(x)
        x = x + self.attention(y, y)
        y = self.narrow(ops.gelu(self.wide(self.norm2(x))))
        return x + self.dropout(y, training=training)


class Transformer(keras.Model):
    def __init__(self, words=20, width=8, depth=2):
        super().__init__()
        self.words = layers.Embedding(words, width)
        self.places = layers.Embedding(6, width)
        self.blocks = [Block(width, 2) for _ in range(depth)]
        self.norm = layers.LayerNormalization()
        self.head = layers.Dense(words)

    def call(self, tokens):
        x = self.words(tokens) + self.places(ops.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def build():
    return Transformer()


def inputs():
    return (np.random.default_rng(0).integers(0, 20, size=(4, 6)),)
