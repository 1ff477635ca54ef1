"""The user's own command as the experiment of an ablation study: nothing of theirs is rewritten."""
