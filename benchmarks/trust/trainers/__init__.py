"""Presets in trainers: loops by hand, trainers, two processes, and the table of all of them."""
