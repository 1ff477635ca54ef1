"""Which replicas train together, on which kernel, for how long, in how much memory."""
