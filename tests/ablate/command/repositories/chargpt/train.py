"""Train a character model on a module of Python's own, in the manner of nanoGPT."""
import json
import os
import textwrap

import torch
from model import GPT, GPTConfig

out_dir = "out"
n_layer, n_head, n_embd, dropout, block_size = 4, 4, 64, 0.1, 64
batch_size, learning_rate, max_iters, eval_iters = 8, 3e-3, 200, 4
exec(open("configurator.py").read())

torch.manual_seed(1337)
os.makedirs(out_dir, exist_ok=True)
text = open(textwrap.__file__).read()
chars = sorted(set(text))
data = torch.tensor([chars.index(c) for c in text])
split = int(0.9 * len(data))
parts = {"train": data[:split], "val": data[split:]}


def get_batch(part):
    data = parts[part]
    ix = torch.randint(len(data) - block_size - 1, (batch_size,))
    x = torch.stack([data[i : i + block_size] for i in ix])
    y = torch.stack([data[i + 1 : i + 1 + block_size] for i in ix])
    return x, y


config = GPTConfig(block_size, len(chars), n_layer, n_head, n_embd, dropout)
model = GPT(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
model.train()
for step in range(max_iters):
    _, loss = model(*get_batch("train"))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    val = sum(model(*get_batch("val"))[1].item() for _ in range(eval_iters)) / eval_iters
print(f"step {max_iters}: train loss {loss.item():.4f}, val loss {val:.4f}")
torch.save(model.state_dict(), os.path.join(out_dir, "ckpt.pt"))
json.dump({"val_loss": val}, open(os.path.join(out_dir, "metrics.json"), "w"))
