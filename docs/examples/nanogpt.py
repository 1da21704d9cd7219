"""Train a small GPT on characters, in the manner of nanoGPT's train.py.

Random crops, accumulation, a scaler, clipping, warm-up and cosine decay, evaluations in between.
"""

import math
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F

from ef_slurm import training

eval_interval, eval_iters, log_interval = 20, 4, 10
gradient_accumulation_steps, batch_size, block_size = 2, 4, 16
n_layer, n_head, n_embd = 1, 2, 16
learning_rate, min_lr, warmup_iters, max_iters, grad_clip = 3e-3, 3e-4, 5, 60, 1.0


class GPT(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, n_embd)
        self.places = nn.Embedding(block_size, n_embd)
        layer = nn.TransformerEncoderLayer(
            n_embd, n_head, 4 * n_embd, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, n_layer, enable_nested_tensor=False)
        self.head = nn.Linear(n_embd, vocab_size)

    def forward(self, idx, targets):
        mask = nn.Transformer.generate_square_subsequent_mask(idx.size(1), device=idx.device)
        x = self.tokens(idx) + self.places(torch.arange(idx.size(1), device=idx.device))
        logits = self.head(self.blocks(x, mask=mask, is_causal=True))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


device = training.init()
device_type = device.type
ctx = torch.autocast("cuda", torch.float16) if device_type == "cuda" else nullcontext()
torch.manual_seed(1337)

text = "it is a truth universally acknowledged that a promise kept is worth ten given " * 100
stoi = {character: i for i, character in enumerate(sorted(set(text)))}
data = torch.tensor([stoi[character] for character in text])
train_data, val_data = data[: int(0.9 * len(data))], data[int(0.9 * len(data)) :]


def get_batch(source, ix):
    x = torch.stack([source[i : i + block_size] for i in ix])
    y = torch.stack([source[i + 1 : i + 1 + block_size] for i in ix])
    return x.to(device), y.to(device)


def get_lr(it):
    if it < warmup_iters:
        return learning_rate * (it + 1) / warmup_iters
    ratio = (it - warmup_iters) / (max_iters - warmup_iters)
    return min_lr + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (learning_rate - min_lr)


@torch.no_grad()
def estimate_loss():
    model.eval()
    losses = torch.zeros(eval_iters)
    for k in range(eval_iters):
        X, Y = get_batch(val_data, torch.randint(len(val_data) - block_size, (batch_size,)))
        with ctx:
            _, loss = model(X, Y)
        losses[k] = loss.item()
    model.train()
    return losses.mean()


model = training.parallel(GPT(len(stoi)).to(device))
scaler = torch.amp.GradScaler(device_type, enabled=device_type == "cuda")
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95))

with training.session(
    model,
    optimizer,
    scaler=scaler,
    data=len(train_data) - block_size,  # where crops begin; a part of a batch is a list of these
    iterations=max_iters,
    global_batch_size=batch_size * gradient_accumulation_steps,
    max_batch_per_gpu=batch_size,
) as session:
    for step in session:
        iter_num = step.iteration
        lr = get_lr(iter_num)
        for param_group in optimizer.param_groups:
            param_group["lr"] = lr
        if iter_num % eval_interval == 0 and session.first:
            with session.evaluating():
                print(f"step {iter_num}: val loss {estimate_loss():.4f}")
        for ix in step:
            X, Y = get_batch(train_data, ix)
            with ctx:
                _, loss = model(X, Y)
            step.backward(loss)
        if grad_clip != 0.0:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if iter_num % log_interval == 0 and session.first:
            print(f"iter {iter_num}: loss {loss.item():.4f}")

if session.first:
    print(f"final: val loss {estimate_loss():.4f}")
