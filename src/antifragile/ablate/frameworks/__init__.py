"""The frameworks whose models can be ablated, one folder each."""
