"""Stage 2: data sets as verified bytes, tensors, splits, and ZeroR, the accuracy to beat."""
