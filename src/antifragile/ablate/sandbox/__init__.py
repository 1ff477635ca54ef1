"""Processes in which code of others runs, each with limits, and the server that forks them."""
