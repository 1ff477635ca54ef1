"""A run in its child process: a user's model and experiment under paired seeds."""
