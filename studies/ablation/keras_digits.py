"""A small convolutional network in Keras 3 that reads digits, to be taken apart.

`build` and `inputs` are what generation needs; `run` trains with `model.fit`, and `evaluate`
measures a trained model. It works on every back end that KERAS_BACKEND may name.
"""

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

EPOCHS, BATCH = 8, 32


class Residual(layers.Layer):
    """A convolution behind a norm, added to what came in."""

    def __init__(self, filters):
        super().__init__()
        self.norm = layers.BatchNormalization(momentum=0.9)
        self.conv = layers.Conv2D(filters, 3, padding="same", activation="relu")

    def call(self, x, training=False):
        return x + self.conv(self.norm(x, training=training))


class DigitNet(keras.Model):
    """Stem, two residual blocks, average, dropout, classes."""

    def __init__(self):
        super().__init__()
        self.stem = layers.Conv2D(12, 3, padding="same", activation="relu")
        self.first = Residual(12)
        self.pool = layers.MaxPooling2D()
        self.second = Residual(12)
        self.average = layers.GlobalAveragePooling2D()
        self.drop = layers.Dropout(0.2)
        self.head = layers.Dense(10)

    def call(self, images, training=False):
        x = self.stem(images)
        x = self.first(x, training=training)
        x = self.pool(x)
        x = self.second(x, training=training)
        x = self.average(x)
        x = self.drop(x, training=training)
        return self.head(x)


def build():
    return DigitNet()


def inputs():
    return (np.random.default_rng(0).random((4, 8, 8, 1), dtype="float32"),)


def data():
    """The same split for every seed: images (N, 8, 8, 1), labels (N,)."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 8, 8, 1).astype("float32")
    return train_test_split(images, labels, test_size=500, random_state=0, stratify=labels)


def run(build_model, seed, data_order_seed):
    train_images, _, train_labels, _ = data()
    model = build_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = EPOCHS * -(-len(train_images) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(4e-3, steps)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss)
    keras.utils.set_random_seed(data_order_seed)  # fit shuffles by the global stream
    model.fit(train_images, train_labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return evaluate(model, seed, data_order_seed)


def evaluate(model, seed, data_order_seed):
    _, test_images, _, test_labels = data()
    logits = model.predict(test_images, batch_size=250, verbose=0)
    return {"accuracy": 100 * float((logits.argmax(1) == test_labels).mean())}
