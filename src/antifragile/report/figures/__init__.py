"""Figures, a function each, from a survey to a matplotlib Figure."""
