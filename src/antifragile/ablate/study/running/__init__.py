"""The runs of a study: their keys, their jobs, and what is still to be run."""
