"""Networks of many seeds, their training loop, and the perturbations compared."""
