"""python -m tinynet.train SEED FILE"""
import csv
import sys

import numpy as np
import torch

from .model import Net


def main(seed, path):
    np.random.seed(seed)
    torch.manual_seed(seed)
    x = torch.tensor(np.random.randn(256, 8), dtype=torch.float32)
    y = x[:, 0] * x[:, 1]
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["step", "mse"])
        for step in range(40):
            pick = torch.randperm(256)[:64]
            loss = ((net(x[pick]) - y[pick]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rows.writerow([step, loss.item()])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
