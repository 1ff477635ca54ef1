"""Broken inputs for every reader, and what becomes of them."""
