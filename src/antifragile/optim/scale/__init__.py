"""Scales of a perturbation: schedules of the step, and controllers that follow the gradients."""
