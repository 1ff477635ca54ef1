"""Measures of steadiness: learning-rate sensitivity, spread, oscillation."""
