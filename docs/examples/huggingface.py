"""Fine-tune a tiny model of transformers on synthetic sentences with the Trainer."""

import torch
from torch.utils.data import Dataset
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    TrainingArguments,
)

from ef_slurm.training.huggingface import ElasticTrainer


class Sentences(Dataset):
    """Is the first word said again?"""

    def __init__(self, size):
        generator = torch.Generator().manual_seed(0)
        self.words = torch.randint(2, 30, (size, 12), generator=generator)
        self.words[::2, 6] = self.words[::2, 0]
        self.labels = (self.words[:, 1:] == self.words[:, :1]).any(1).long()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return {"input_ids": self.words[i], "labels": self.labels[i]}


def main():
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=30, dim=32, hidden_dim=64, n_layers=1, n_heads=2, max_position_embeddings=16
    )
    arguments = TrainingArguments(
        output_dir="out",
        learning_rate=1e-3,
        save_strategy="no",
        logging_steps=10,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = ElasticTrainer(
        model=DistilBertForSequenceClassification(config),
        args=arguments,
        train_dataset=Sentences(640),
        epochs=2,
        global_batch_size=32,
    )
    trainer.train()
    print(f"final: step {trainer.state.global_step}")


if __name__ == "__main__":
    main()
