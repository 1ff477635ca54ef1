"""Ablation studies of repositories that nobody prepared, from the typed command to the report."""
