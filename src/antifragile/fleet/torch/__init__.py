"""The batched PyTorch kernel, on any device."""
