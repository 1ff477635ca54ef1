n_layer = 2
n_embd = 32
block_size = 32
max_iters = 30
