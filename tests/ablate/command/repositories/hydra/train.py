"""Train a network on digits, configured by Hydra: python train.py model=plain optimizer.lr=1e-2"""
import json
import logging

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from sklearn.datasets import load_digits

log = logging.getLogger(__name__)


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info("configuration:\n%s", OmegaConf.to_yaml(cfg))
    torch.manual_seed(cfg.seed)
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 16
    y = torch.tensor(digits.target)
    model = instantiate(cfg.model)
    optimizer = instantiate(cfg.optimizer, params=model.parameters())
    for epoch in range(cfg.epochs):
        model.train()
        for batch in torch.randperm(1200).split(cfg.batch_size):
            loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        log.info("epoch %d: loss %.3f", epoch, loss.item())
    model.eval()
    with torch.no_grad():
        accuracy = (model(x[1200:]).argmax(1) == y[1200:]).float().mean().item()
    # hydra.job.chdir: the working folder is the run's
    with open("metrics.json", "w") as file:
        json.dump({"test": {"accuracy": accuracy}}, file)
    return accuracy


if __name__ == "__main__":
    main()
