"""Functions, posteriors and training tasks that the experiments run on."""
