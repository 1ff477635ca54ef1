"""PyTorch: tracing, running and comparing its models, and its edit templates."""
