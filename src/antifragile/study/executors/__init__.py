"""Executors run the tasks of a study: in this process, or in workers."""
