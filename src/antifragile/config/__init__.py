"""Stage 1: what to run. Frozen, validated, hashable; no torch here."""
