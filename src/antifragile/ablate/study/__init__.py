"""Ablation studies: training certified variants on paired seeds, and their manifest."""
