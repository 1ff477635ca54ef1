"""One watched run of the model: the notes it leaves, and the trace made of them."""
