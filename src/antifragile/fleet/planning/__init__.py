"""Planning a fleet: which replicas train together, on which kernel, in what time and memory."""
