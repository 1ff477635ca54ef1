"""A functional model with what its author would cut: sums, gates, joins, heads, options, loops."""

import keras
import numpy as np
from keras import layers


class Scaled(layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="glorot_uniform")

    def call(self, x):
        return x * self.gain


class Narrow(layers.Layer):
    def __init__(self):
        super().__init__()
        self.project = layers.Dense(4)

    def call(self, x):
        return self.project(x)


def block(x, name):
    skip = x
    x = layers.LayerNormalization(name=f"{name}_norm")(x)
    x = layers.Dense(8)(x)
    return layers.add([x, skip], name=f"{name}_add")


def build():
    words = keras.Input((6, 8), name="words")
    facts = keras.Input((8,), name="facts")
    x = layers.MultiHeadAttention(2, 4, name="attention")(words, words)
    x = layers.LSTM(8, name="memory")(x) + facts
    for name in ("first", "second"):
        x = block(x, name)
    gate = layers.Dense(8, "sigmoid", kernel_regularizer="l2", name="gate")(facts)
    x = layers.Multiply()([x, gate])
    x = Scaled(name="scaled")(x)
    x = layers.Dropout(0.2, name="drop")(x)
    x = layers.concatenate([x, Narrow()(facts)], name="join")
    return keras.Model({"words": words, "facts": facts}, layers.Dense(3, name="head")(x))


def inputs():
    draw = np.random.default_rng(0).normal
    return (
        {
            "words": draw(size=(4, 6, 8)).astype("float32"),
            "facts": draw(size=(4, 8)).astype("float32"),
        },
    )
