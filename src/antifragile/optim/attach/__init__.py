"""Rules attached to a torch optimizer: state, hooks, saving and the handle."""
