"""A convolutional network as a Sequential model."""

import keras
import numpy as np
from keras import layers


def build():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Dropout(0.3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16, activation="gelu"),
            layers.LayerNormalization(),
            layers.Dense(4),
        ]
    )


def inputs():
    return (np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32"),)
