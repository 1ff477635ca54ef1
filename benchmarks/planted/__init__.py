"""Statistics of ablation studies against models whose true component values are known."""
