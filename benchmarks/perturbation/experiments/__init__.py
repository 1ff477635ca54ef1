"""The experiments, one module each, and their list."""
