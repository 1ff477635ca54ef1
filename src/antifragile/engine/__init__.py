"""Stage 5: the readable truth. One model, one meta-loop, records, checkpoints.

The public names are imported when first used: a store of records needs no torch.
"""
