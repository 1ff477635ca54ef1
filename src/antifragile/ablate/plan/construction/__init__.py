"""Edits of statements that run while a model is built."""
