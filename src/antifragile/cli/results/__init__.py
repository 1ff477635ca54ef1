"""Verbs that read results: classify, compare-modes, size, table, figure, report, compare."""
