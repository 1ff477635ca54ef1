"""What there is to find in each test model: name, kind, number of calls (idle: never ran).

Checked line by line against the models; a component with a reason cannot be ablated. Features of
inputs ("input:x[0]") are left out here.
"""

EXPECTED = {
    "attention": """
        ByHand.qkv | module | 1
        ByHand.out | module | 1
        Net.attend | block | 1
        Net.by_hand | block | 1
        Net.library | block | 1
        Net.head | module | 1
        ByHand.forward:F.softmax | functional | 1
        ByHand.forward:(q @ k.transpose) / math.sqrt | scale | 1
        ByHand.forward:heads | heads | 1
        Net.forward:self.attend heads | heads | 1
        Net.forward:x + y | residual | 1
        Net.forward:x + self.by_hand | residual | 1
        input:x | input | 1
        Net.library norm1 | part | 1
        Net.library norm2 | part | 1
        Net.library self-attention | part | 1
        Net.library feed-forward | part | 1
        Net.library activation | part | 1
    """,
    "bare_script": """
        Net.one | module | 1
        Net.two | module | 1
        Net.forward:torch.tanh | functional | 1
        input:x | input | 1
        mark:sparsity | marked | 1
    """,
    "concat_skips": """
        Net.stem | module | 1
        Net.down | block | 1
        Net.up | block | 1
        Net.head | module | 1
        Down.body | block | 1
        Down.body[0] | module | 1
        Down.body[1] | module | 1
        Down.body[2] | module | 1
        Up.up | module | 1
        Up.conv | module | 1
        Up.forward:cat[skip] | concatenation | 1
        Up.forward:cat[self.up] | concatenation | 1
        Up.forward:F.leaky_relu | functional | 1
        input:x | input | 1
    """,
    "dense_concat": """
        Net.layers[*] (all) | repeated | 3
        Net.layers[0] | repeated | 1
        Net.layers[1] | repeated | 1
        Net.layers[2] | repeated | 1
        Net.head | module | 1
        Net.forward:torch.relu | functional | 3
        Net.forward:cat[last] | concatenation | 3
        Net.forward:cat[last] #2 | concatenation | 1
        input:x | input | 1
    """,
    "double_precision": """
        Net.one | module | 1
        Net.two | module | 1
        Net.forward:F.softplus | functional | 1
        input:x | input | 1
    """,
    "factories": """
        unit:nn.Linear (all) | repeated | 3
        Net.stem[0] | repeated | 1
        Net.stack[0][0] | repeated | 1
        Net.stack[1][0] | repeated | 1
        unit:nn.BatchNorm1d (all) | repeated | 3
        Net.stem[1] | repeated | 1
        Net.stack[0][1] | repeated | 1
        Net.stack[1][1] | repeated | 1
        unit:nn.ReLU (all) | repeated | 3
        Net.stem[2] | repeated | 1
        Net.stack[0][2] | repeated | 1
        Net.stack[1][2] | repeated | 1
        Net.stem | block | 1
        Net.stack | block | 1
        Net.stack[*] (all) | repeated | 2
        Net.stack[0] | repeated | 1
        Net.stack[1] | repeated | 1
        Net.head | module | 1
        input:x | input | 1
    """,
    "functional_residual": """
        Net.first | module | 1
        Net.inner | module | 1
        Net.last | module | 1
        Net.forward:F.relu | functional | 1
        Net.forward:x + torch.tanh | residual | 1
        Net.forward:torch.tanh | functional | 1
        input:x | input | 1
    """,
    "gates": """
        Net.conv | module | 1
        Net.squeeze | module | 1
        Net.excite | module | 1
        Net.carry | module | 1
        Net.head | module | 1
        Net.forward:torch.sigmoid | functional | 1
        Net.forward:torch.relu | functional | 1
        Net.forward:x.mean | functional | 1
        Net.forward:x * g | gate | 1
        Net.forward:x.amax | functional | 1
        Net.forward:torch.sigmoid #2 | functional | 1
        Net.forward:t * torch.tanh of (t * torch.tanh) + ((1 - t) * x) | sum | 1
        Net.forward:(1 - t) * x of (t * torch.tanh) + ((1 - t) * x) | sum | 1
        Net.forward:t * torch.tanh | gate | 1
        Net.forward:torch.tanh | functional | 1
        Net.forward:(1 - t) * x | gate | 1
        input:x | input | 1
    """,
    "glu": """
        Net.wide | module | 1
        Net.glu | module | 1
        Net.second | module | 1
        Net.value | module | 1
        Net.gate | module | 1
        Net.head | module | 1
        Net.forward:F.glu | functional | 1
        Net.forward:F.silu * self.value | gate | 1
        Net.forward:F.silu | functional | 1
        input:x | input | 1
    """,
    "hidden_state": """
        Net.encoder | module | 1
        Net.cell | module | 4
        Net.drop | module | 1
        Net.head | module | 1
        input:x | input | 1
    """,
    "lambda_shortcut": """
        Net.conv | module | 1
        Net.shortcut | module | 1
        Net.head | module | 1
        Net.__init__:F.pad | functional | 1
        Net.forward:F.gelu | functional | 1
        Net.forward:self.conv of self.conv + self.shortcut | sum | 1
        Net.forward:self.shortcut of self.conv + self.shortcut | sum | 1
        Net.forward:out.mean | functional | 1
        input:x | input | 1
    """,
    "module_list": """
        Layer.norm | module | 4
        Layer.linear | module | 4
        Layer.drop | module | 4
        Net.layers[*] (all) | repeated | 4
        Net.layers[0] | repeated | 1
        Net.layers[1] | repeated | 1
        Net.layers[2] | repeated | 1
        Net.layers[3] | repeated | 1
        Net.head | module | 1
        Layer.forward:x + (self.drop * scale) | residual | 4
        Layer.forward:self.drop * scale | scale | 4
        input:x | input | 1
    """,
    "nested_module_list": """
        Net.pairs[*] (all) | repeated | 2
        Net.pairs[*][0] (all) | repeated | 2
        Net.pairs[0][0] | repeated | 1
        Net.pairs[1][0] | repeated | 1
        Net.pairs[*][1] (all) | repeated | 2
        Net.pairs[0][1] | repeated | 1
        Net.pairs[1][1] | repeated | 1
        Net.head | module | 1
        Net.forward:mix + x | residual | 2
        input:x | input | 1
    """,
    "never_called": """
        Net.body | module | 1
        Net.unused | module | idle | never called in the traced forward
        Net.extra | module | 1 | dropout with probability 0: it changes nothing
        Net.nothing | module | 1 | already an identity: nothing to take away
        Net.head | module | 1
        Net.forward:F.silu | functional | 1
        Net.forward:F.normalize | functional | idle | never ran in the traced forward
        input:x | input | 1
    """,
    "ordered_dict": """
        Net.features | block | 1
        Net.features.linear | module | 1
        Net.features.norm | module | 1
        Net.features.act | module | 1
        Net.middle | module | 1
        Net.tail* (all) | repeated | 2
        Net.tail0 | repeated | 1
        Net.tail1 | repeated | 1
        Net.head | module | 1
        Net.forward:torch.sigmoid | functional | 2
        input:x | input | 1
    """,
    "plain_sequential": """
        [0] | module | 1
        [1] | module | 1
        [2] | module | 1
        input 0 | input | 1 | no forward in the source files takes it by name
    """,
    "python_list": """
        Block.lift | module | 3
        Net.blocks[*] (all) | repeated | 3
        Net.blocks[0] | repeated | 1
        Net.blocks[1] | repeated | 1
        Net.blocks[2] | repeated | 1
        Net.head | module | 1
        Block.forward:x + torch.relu | residual | 3
        Block.forward:torch.relu | functional | 3
        input:x | input | 1
    """,
    "raw_parameters": """
        Net.forward:cat[self.token.expand] | concatenation | 1
        Net.forward:cat[x] | concatenation | 1
        Net.forward:torch.relu | functional | 1
        Net.forward:F.linear | functional | 1
        Net.forward:x of x + x.mean | sum | 1
        Net.forward:x.mean of x + x.mean | sum | 1
        Net.forward:x.mean | functional | 1
        input:x | input | 1
        Net.token | parameter | 1
        Net.positions | parameter | 1
        Net.scale | parameter | 1
        Net.weight | parameter | 1
        Net.bias | parameter | 1
    """,
    "shared_depth": """
        Net.enter | module | 1
        Net.shared | module | 4
        Net.forward:self.shared (use 1) | module | 3
        Net.forward:self.shared (use 2) | module | 1
        Net.norm | module | 2
        Net.forward:self.norm (use 1) | module | 1
        Net.forward:self.norm (use 2) | module | 1
        Net.leave | module | 1
        Net.forward:torch.tanh | functional | 3
        Net.forward:x + self.shared | residual | 1
        input:x | input | 1
    """,
    "shortcut_in_place": """
        Block.conv | module | 2
        Block.norm | module | 2
        Block.shortcut | module | 1
        Net.stem | module | 1
        Net.one | block | 1
        Net.two | block | 1
        Net.pool | module | 1
        Net.head | module | 1
        Block.forward:out + self.shortcut | residual | 2
        Block.forward:torch.relu | functional | 2
        input:x | input | 1
    """,
    "tied_weights": """
        Net.tokens | embedding | 1
        Net.mix | module | 1
        Net.norm | module | 1
        Net.head | module | 1
        input:ids | input | 1
        Net.__init__:self.head.weight = self.tokens.weight | tied | 1
    """,
    "training_script": """
        Net.one | module | 1
        Net.two | module | 1
        Net.forward:torch.relu | functional | 1
        input:x | input | 1
        mark:shift | marked | 1
        mark:decay | marked | 1
        mark:margin | marked | 1
    """,
    "two_depths": """
        Stack.layers[*] (all) | repeated | 4
        Stack.layers[0] | repeated | 2
        Stack.layers[1] | repeated | 1
        Stack.layers[2] | repeated | 1
        Net.enter | module | 1
        Net.deep | block | 1
        Net.flat | block | 1
        Net.head | module | 1
        Stack.forward:torch.relu | functional | 4
        Stack.forward:layer + before | residual | 2
        Net.forward:x of x + self.shift | sum | 1
        Net.forward:self.shift of x + self.shift | sum | 1
        Net.forward:self.flat.mean | functional | 1
        input:x | input | 1
    """,
    "two_inputs": """
        Net.words | embedding | 1
        Net.numbers | module | 1
        Net.mix | module | 1
        Net.head | module | 1
        Net.join:torch.selu + left | residual | 1
        Net.join:torch.selu | functional | 1
        Net.forward:self.words.mean | functional | 1
        input:ids | input | 1
        input:values | input | 1
    """,
    "two_names": """
        Net.first | module | 1
        Net.act | module | 1
        Net.second | module | 1
        Net.net | block | 1 | it is the whole model: it holds all that learns and makes the output
        input:x | input | 1
    """,
    "weight_normed": """
        Net.conv | module | 1
        Net.linear | module | 1
        Net.head | module | 1
        Net.forward:torch.relu.mean | functional | 1
        Net.forward:torch.relu | functional | 1
        input:x | input | 1
        Net.__init__:self.reset | initialisation | 1
        Net.reset:nn.init.zeros_ module.bias | initialisation | 1
    """,
    "zero_initialised": """
        Net.body | module | 1
        Net.first | module | 1
        Net.second | module | 1
        Net.head | module | 1
        Net.forward:x + self.second | residual | 1
        Net.forward:torch.relu | functional | 1
        input:x | input | 1
        Net.__init__:nn.init.zeros_ self.second.weight | initialisation | 1
        Net.__init__:nn.init.zeros_ self.second.bias | initialisation | 1
    """,
}
