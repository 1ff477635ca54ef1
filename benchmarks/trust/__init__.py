"""Checks of what the package promises: reproduction, precision, calibration, public models."""
