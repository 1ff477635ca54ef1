"""Train a small convolutional network with batch norms, in Lightning, on digits."""
import argparse

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from nets import ConvNet
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--logs", default="logs")
args = parser.parse_args()


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = ConvNet()

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        x, y = batch
        return torch.nn.functional.cross_entropy(self(x), y)

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


L.seed_everything(args.seed)
digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
y = torch.tensor(digits.target)
train, val = TensorDataset(x[:600], y[:600]), TensorDataset(x[1400:], y[1400:])
trainer = L.Trainer(
    max_epochs=2,
    accelerator="cpu",
    logger=CSVLogger(args.logs, name="", version=""),
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Classifier(), DataLoader(train, 32, shuffle=True), DataLoader(val, 200))
