"""Callbacks that run the meta-loop inside other packages' trainers; one epoch is one meta-loop."""
