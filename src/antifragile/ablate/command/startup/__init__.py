"""Code that a run's Python executes first, in the user's process; it imports nothing of ours."""
