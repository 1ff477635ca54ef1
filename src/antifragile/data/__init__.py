"""Stage 2: verified bytes to tensors to splits, and ZeroR, the accuracy to beat."""
