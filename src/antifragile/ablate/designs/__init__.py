"""Designs of ablation studies: which combinations run, and what is estimated from them."""
