"""The paper's tables, and comparisons of two studies cell by cell."""
