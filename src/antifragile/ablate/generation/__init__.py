"""Variants written to disk: the edited files, the difference and a description."""
