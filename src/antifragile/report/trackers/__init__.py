"""Trials exported as runs of an experiment tracker."""
