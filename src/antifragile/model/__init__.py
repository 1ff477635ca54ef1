"""Stage 3: networks, and the ablation of single neurons as pure functions on weights."""
