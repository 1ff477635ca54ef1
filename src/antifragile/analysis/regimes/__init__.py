"""Training regimes: the four words and three sets of rules that assign them."""
