"""The Frustration Engine for any torch model: the meta-loop around a user's own training."""
