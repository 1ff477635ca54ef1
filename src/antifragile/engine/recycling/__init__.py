"""Rivals of PSA: hidden neurons that do not fire are drawn anew while the network trains."""
