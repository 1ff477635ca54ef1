"""Edits of calls: operands that take the place of results, and masks."""
