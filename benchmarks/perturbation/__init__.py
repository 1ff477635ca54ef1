"""Experiments on perturbed equations: ``python -m benchmarks.perturbation NAME``."""
