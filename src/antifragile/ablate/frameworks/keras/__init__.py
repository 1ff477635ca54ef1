"""Keras 3, on torch or TensorFlow: tracing, running and comparing models, and edit templates."""
