"""Kills of every verb that writes, at random moments: nothing lost, changed or half-written."""
