"""Train a small vision transformer of transformers, built by its name, on digits."""
import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from transformers import AutoConfig, AutoModelForImageClassification

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="vit")
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--log", default="log.csv")
args = parser.parse_args()

torch.manual_seed(args.seed)
np.random.seed(args.seed)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
labels = torch.tensor(digits.target)
device = "cuda" if torch.cuda.is_available() else "cpu"

config = AutoConfig.for_model(
    args.model,
    image_size=8,
    patch_size=2,
    num_channels=1,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    num_labels=10,
)
model = AutoModelForImageClassification.from_config(config).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
with open(args.log, "w") as log:
    print("epoch,accuracy", file=log)
    for epoch in range(args.epochs):
        model.train()
        for batch in np.array_split(np.random.permutation(1200), 30):
            out = model(pixel_values=images[batch].to(device), labels=labels[batch].to(device))
            optimizer.zero_grad()
            out.loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            guess = model(pixel_values=images[1200:].to(device)).logits.argmax(-1).cpu()
        print(epoch, (guess == labels[1200:]).float().mean().item(), sep=",", file=log)
