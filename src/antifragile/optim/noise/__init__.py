"""Noise types: each fills or adds to tensors with unit-scale noise."""
