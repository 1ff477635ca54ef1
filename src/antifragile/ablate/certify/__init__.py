"""Proof that a variant is legal and changes the model as it promises."""
