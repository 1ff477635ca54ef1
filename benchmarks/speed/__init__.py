"""The fleet against plain and tuned PyTorch: ``python -m benchmarks.speed``."""
