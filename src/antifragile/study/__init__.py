"""Stage 8: the plan of a study, the executors of its tasks, and the runner that resumes."""
