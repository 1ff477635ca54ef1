"""Components of a model's construction: statements that fill or tie parameters, library layers."""
