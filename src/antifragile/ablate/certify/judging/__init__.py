"""Parts of a verdict: the promises of a variant, whether it is alive, whether it changed."""
