"""Stage 5: the readable reference. One model, one meta-loop, records, checkpoints."""
