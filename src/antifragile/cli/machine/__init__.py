"""Verbs that say what this machine is and has."""
