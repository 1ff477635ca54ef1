"""Modifiers of a mode: the words after ``+`` in its name, what they mean, and their spelling."""
