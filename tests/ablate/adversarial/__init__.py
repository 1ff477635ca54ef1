"""Models in which a careless certificate would be wrong."""
