"""Stage 9: executors, and the runner that resumes."""
