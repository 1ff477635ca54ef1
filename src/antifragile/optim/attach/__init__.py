"""Rules attached to a torch optimizer: a core without hooks, the hooks around it, the handle."""
