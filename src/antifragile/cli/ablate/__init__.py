"""``antifragile ablate``: discover, generate, run and report ablations."""
