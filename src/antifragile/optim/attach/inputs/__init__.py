"""The inputs of a model's forwards: which of them a rule means, and the noise added to them."""
