"""Two residual blocks with dropout in a loop, padded tokens, a product of two open factors."""

import keras
import numpy as np
from keras import layers


def build():
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 8, mask_zero=True, name="words")(tokens)
    for number in (1, 2):
        skip = x
        x = layers.Dense(8, activation="relu", name=f"block{number}_dense")(x)
        x = layers.Dropout(0.3, name=f"block{number}_drop")(x)
        x = layers.Add(name=f"block{number}_add")([skip, x])
        attention = layers.MultiHeadAttention(2, 4, name=f"block{number}_attention")
        x = attention(x, x)
    x = layers.GlobalAveragePooling1D(name="pooled")(x)
    left = layers.Dense(8, name="left")(x)
    right = layers.Dense(8, name="right")(x)
    x = layers.Multiply(name="both")([left, right])
    x = layers.Add(name="last_add")([x, left])
    x = layers.add([x, right], name="very_last_add")
    return keras.Model(tokens, layers.Dense(3, name="head")(x))


def inputs():
    tokens = np.random.default_rng(0).integers(1, 20, size=(4, 6)).astype("int32")
    tokens[:, 4:] = 0
    return (tokens,)
