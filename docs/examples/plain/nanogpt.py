"""Train a small GPT on characters, in the manner of nanoGPT's train.py.

Random crops, accumulation, a scaler, clipping, warm-up and cosine decay, evaluations in between.
"""

import math
import os
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

out_dir = os.environ.get("OUT_DIR", "out")
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


ddp = int(os.environ.get("RANK", -1)) != -1
if ddp:
    cuda = torch.cuda.is_available()
    dist.init_process_group(backend="nccl" if cuda else "gloo")
    device = f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"
    master_process = dist.get_rank() == 0
    seed_offset = dist.get_rank()
    assert gradient_accumulation_steps % dist.get_world_size() == 0
    gradient_accumulation_steps //= dist.get_world_size()
else:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    master_process, seed_offset = True, 0
device_type = "cuda" if "cuda" in device else "cpu"
ctx = torch.autocast("cuda", torch.float16) if device_type == "cuda" else nullcontext()
torch.manual_seed(1337 + seed_offset)

text = "it is a truth universally acknowledged that a promise kept is worth ten given " * 100
stoi = {character: i for i, character in enumerate(sorted(set(text)))}
data = torch.tensor([stoi[character] for character in text])
train_data, val_data = data[: int(0.9 * len(data))], data[int(0.9 * len(data)) :]


def get_batch(split):
    source = train_data if split == "train" else val_data
    ix = torch.randint(len(source) - block_size, (batch_size,))
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
        X, Y = get_batch("val")
        with ctx:
            _, loss = model(X, Y)
        losses[k] = loss.item()
    model.train()
    return losses.mean()


raw_model = model = GPT(len(stoi)).to(device)
scaler = torch.amp.GradScaler(device_type, enabled=device_type == "cuda")
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95))
iter_num, best_val_loss = 0, 1e9
if os.path.exists(os.path.join(out_dir, "ckpt.pt")):
    checkpoint = torch.load(os.path.join(out_dir, "ckpt.pt"), map_location=device)
    raw_model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    iter_num, best_val_loss = checkpoint["iter_num"], checkpoint["best_val_loss"]
if ddp:
    model = DistributedDataParallel(raw_model, device_ids=[device] if cuda else None)

X, Y = get_batch("train")
while iter_num < max_iters:
    lr = get_lr(iter_num)
    for param_group in optimizer.param_groups:
        param_group["lr"] = lr
    if iter_num % eval_interval == 0 and master_process:
        val_loss = estimate_loss()
        print(f"step {iter_num}: val loss {val_loss:.4f}")
        if val_loss < best_val_loss:
            best_val_loss = val_loss
            checkpoint = {
                "model": raw_model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "iter_num": iter_num,
                "best_val_loss": best_val_loss,
            }
            os.makedirs(out_dir, exist_ok=True)
            torch.save(checkpoint, os.path.join(out_dir, "ckpt.pt"))
    for micro_step in range(gradient_accumulation_steps):
        if ddp:
            model.require_backward_grad_sync = micro_step == gradient_accumulation_steps - 1
        with ctx:
            _, loss = model(X, Y)
            loss = loss / gradient_accumulation_steps
        X, Y = get_batch("train")
        scaler.scale(loss).backward()
    if grad_clip != 0.0:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    if iter_num % log_interval == 0 and master_process:
        print(f"iter {iter_num}: loss {loss.item() * gradient_accumulation_steps:.4f}")
    iter_num += 1

if master_process:
    print(f"final: val loss {estimate_loss():.4f}")
if ddp:
    dist.destroy_process_group()
