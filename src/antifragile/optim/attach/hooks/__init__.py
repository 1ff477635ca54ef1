"""Hooks that drive a perturbed optimizer: around its step, in its model, and in copies."""
