"""Stage 6: the engine's meta-loop for many replicas at once, near the hardware limit."""
