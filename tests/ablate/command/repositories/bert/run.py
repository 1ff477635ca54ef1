"""Train a small BERT, made from a configuration, with Hugging Face's Trainer on a toy task."""
import argparse

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

parser = argparse.ArgumentParser()
parser.add_argument("--output_dir", required=True)
parser.add_argument("--seed", type=int, default=42)
args = parser.parse_args()


class Words(torch.utils.data.Dataset):
    """Sentences of 12 word ids; the label says whether word 3 is in them."""

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(1, 40, (n, 12), generator=generator)
        self.labels = (self.ids == 3).any(1).long()

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        mask = torch.ones(12, dtype=torch.long)
        return {"input_ids": self.ids[i], "attention_mask": mask, "labels": self.labels[i]}


config = BertConfig(
    vocab_size=40,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=16,
)
training = TrainingArguments(
    output_dir=args.output_dir,
    seed=args.seed,
    max_steps=20,
    per_device_train_batch_size=16,
    learning_rate=1e-3,
    report_to=[],
    use_cpu=True,
    save_strategy="no",
)
trainer = Trainer(
    model=BertForSequenceClassification(config),
    args=training,
    train_dataset=Words(320, 0),
    eval_dataset=Words(160, 1),
)
trainer.train()
metrics = trainer.evaluate()
trainer.save_metrics("eval", metrics)
