"""Watched runs of a model with random layers: what a change of one reaches in the others."""
