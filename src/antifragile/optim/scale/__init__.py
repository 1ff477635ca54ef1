"""Scales of a perturbation: schedules, and controllers that follow gradients and losses."""
