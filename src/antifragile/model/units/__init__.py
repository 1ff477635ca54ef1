"""Units of any torch model: what can be cut off alone, found by watching the data flow."""
