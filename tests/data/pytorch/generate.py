"""Models as PyTorch users write and save them, with inputs and outputs.

For each model two files: NAME.safetensors is `safetensors.torch.save_file(model.state_dict(), ...)` and nothing else,
NAME_values.safetensors holds what goes in and what comes out in evaluation mode.

    pip install torch torchvision numpy safetensors
    python generate.py --out .
"""

import argparse
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, ResNet


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998) with the layers used today."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


def resnet18(width=8, classes=10):
    """torchvision's ResNet-18 with an eighth of the channels."""
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=classes)
    model.inplanes = width
    model.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
    model.bn1 = nn.BatchNorm2d(width)
    for i, stride in enumerate([1, 2, 2, 2]):
        setattr(model, f"layer{i + 1}", model._make_layer(BasicBlock, width << i, 2, stride=stride))
    model.fc = nn.Linear(8 * width, classes)
    return model


class Tagger(nn.Module):
    """A class for each step of a sequence."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 16, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(32, 5)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return self.out(y), h, c


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(dim, 3 * dim)
        self.c_proj = nn.Linear(dim, dim)

    def forward(self, x):
        n, t, dim = x.shape
        q, k, v = (p.view(n, t, self.heads, -1).transpose(1, 2) for p in self.c_attn(x).split(dim, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(n, t, dim))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.c_fc = nn.Linear(dim, 4 * dim)
        self.c_proj = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.ln_2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """GPT-2 (Radford et al. 2019) with the names of its parameters, small."""

    def __init__(self, vocab=65, length=24, layers=2, dim=32, heads=4):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocab, dim),
            "wpe": nn.Embedding(length, dim),
            "h": nn.ModuleList(Block(dim, heads) for _ in range(layers)),
            "ln_f": nn.LayerNorm(dim),
        })
        self.lm_head = nn.Linear(dim, vocab, bias=False)

    def forward(self, tokens):
        t = self.transformer
        x = t.wte(tokens) + t.wpe(torch.arange(tokens.shape[1]))
        for block in t.h:
            x = block(x)
        return self.lm_head(t.ln_f(x))


MODELS = {
    "lenet": (LeNet, lambda: torch.randn(3, 1, 28, 28)),
    "resnet18": (resnet18, lambda: torch.randn(2, 3, 64, 48)),
    "lstm": (Tagger, lambda: torch.randn(3, 11, 8)),
    "gpt": (Gpt, lambda: torch.randint(0, 65, (2, 24))),
}


def outputs(model, x):
    y = model(x)
    return y if isinstance(y, tuple) else (y,)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    out = parser.parse_args().out
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for seed, (name, (make, sample)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = make()
        # A few steps, so that no bias is 0, no weight of a norm 1, and batch norms have seen something.
        adam = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(20):
            adam.zero_grad()
            y = outputs(model, sample())[0]
            (y - torch.linspace(-2, 2, y.shape[-1])).square().mean().backward()
            adam.step()
        model.eval()
        x = sample()
        with torch.no_grad():
            ys = outputs(model, x)
        save_file(model.state_dict(), out / f"{name}.safetensors")
        values = {"x": x} | {f"y{i}": y.contiguous() for i, y in enumerate(ys)}
        save_file(values, out / f"{name}_values.safetensors")


main()
