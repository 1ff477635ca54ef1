"""Evidence for and against the paper's claims, from its own trials and from our studies."""
