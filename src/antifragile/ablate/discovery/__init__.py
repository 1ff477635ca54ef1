"""Components of a model, found in its source and confirmed by one watched run."""
