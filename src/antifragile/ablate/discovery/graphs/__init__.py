"""Graphs of layers that a functional model holds, built on symbols."""
