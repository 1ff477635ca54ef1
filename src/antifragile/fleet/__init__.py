"""Stage 6: the same rule for many replicas at once, near the hardware limit."""
