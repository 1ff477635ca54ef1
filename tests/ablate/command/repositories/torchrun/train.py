"""torchrun --standalone --nproc-per-node N train.py --seed S --out FOLDER"""
import argparse
import json
import os

import torch
import torch.distributed as dist
from model import Net
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default=".")
args = parser.parse_args()

dist.init_process_group("gloo")
rank = int(os.environ["RANK"])
torch.manual_seed(args.seed)
digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32) / 16
y = torch.tensor(digits.target)
train = TensorDataset(x[:1200], y[:1200])
sampler = DistributedSampler(train, seed=args.seed)
model = DistributedDataParallel(Net())
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(2):
    sampler.set_epoch(epoch)
    for images, labels in DataLoader(train, 32, sampler=sampler):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
if rank == 0:
    with torch.no_grad():
        accuracy = (model.module(x[1200:]).argmax(1) == y[1200:]).float().mean().item()
    with open(os.path.join(args.out, "result.json"), "w") as file:
        json.dump({"accuracy": accuracy}, file)
dist.destroy_process_group()
