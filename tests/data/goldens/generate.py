#!/usr/bin/env python3
"""Write reference values computed by PyTorch and scikit-learn (float64, stored as float32, or with --f64 as they are).

    pip install torch safetensors scikit-learn   # a CPU build is enough
    generate.py --out DIR [--seed N] [--grow N] [--f64] [--only FAMILY ...]

Files, one pair per family: FAMILY.safetensors and FAMILY.json. The JSON is a list of cases:
    {"name", "op", "args", "inputs": [...], "params": [...], "outputs": [...], "grads": [...]}
With --f64 there is FAMILY.f64.safetensors alone, with the same cases as the JSON of the same seed and sizes.
A tensor of case C is stored under the key "C/NAME". Gradients are of sum(output[0] * "C/cotangent"),
or of the loss itself where the output is a scalar; the gradient of NAME is stored as "C/grad.NAME".
"""
import argparse
import json
import pathlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file

from more_cases import more_losses, more_tensor_ops

torch.set_default_dtype(torch.float64)


class Family:
    stored = torch.float32

    def __init__(self, name):
        self.name, self.cases, self.tensors = name, [], {}

    def put(self, case, name, t):
        t = t.detach() if isinstance(t, torch.Tensor) else torch.as_tensor(t)
        t = t.to(self.stored) if t.is_floating_point() else t
        self.tensors[f"{case}/{name}"] = np.array(t.contiguous().numpy())  # own copy, never a view of a parameter

    def add(self, name, op, f, inputs, params=None, args=None, grad=True):
        """f(**inputs, **params) -> tensor or tuple of tensors; params are an ordered dict of leaves."""
        params = params or {}
        leaves = {**inputs, **params}
        for t in leaves.values():
            if t.is_floating_point():
                t.requires_grad_(grad)
        for k, v in leaves.items():
            self.put(name, k, v)
        out = f(**leaves)
        outs = out if isinstance(out, tuple) else (out,)
        for i, o in enumerate(outs):
            self.put(name, f"out{i}", o)
        grads = []
        if grad and outs[0].is_floating_point():
            if outs[0].dim() == 0:
                outs[0].backward()
            else:
                c = torch.randn_like(outs[0])
                self.put(name, "cotangent", c)
                (outs[0] * c).sum().backward()
            for k, v in leaves.items():
                if v.grad is not None:
                    self.put(name, f"grad.{k}", v.grad)
                    grads.append(k)
        self.cases.append({"name": name, "op": op, "args": args or {}, "inputs": list(inputs), "params": list(params),
                           "outputs": [f"out{i}" for i in range(len(outs))], "grads": grads})

    def module(self, name, op, m, x, args, call=None, buffers_after=()):
        """A torch module: parameters keep their state-dict names."""
        with torch.no_grad():
            for p in m.parameters():
                p.copy_(torch.randn_like(p) * 0.3)
        names = [k for k, _ in m.named_parameters()]
        inputs = {"x": x} if isinstance(x, torch.Tensor) else x
        for p in m.parameters():
            p.requires_grad_(True)
        for k, v in inputs.items():
            self.put(name, k, v)
            if v.is_floating_point():
                v.requires_grad_(True)
        for k, p in m.named_parameters():
            self.put(name, k, p)
        for k, b in m.named_buffers():
            self.put(name, f"before.{k}", b)
        out = call(m, **inputs) if call else m(*inputs.values())
        outs = out if isinstance(out, tuple) else (out,)
        for i, o in enumerate(outs):
            self.put(name, f"out{i}", o)
        c = torch.randn_like(outs[0])
        self.put(name, "cotangent", c)
        (outs[0] * c).sum().backward()
        grads = []
        for k, v in [*inputs.items(), *m.named_parameters()]:
            if v.grad is not None:
                self.put(name, f"grad.{k}", v.grad)
                grads.append(k)
        for k, b in m.named_buffers():
            self.put(name, f"after.{k}", b)
        self.cases.append({"name": name, "op": op, "args": args, "inputs": list(inputs), "params": names,
                           "buffers": [k for k, _ in m.named_buffers()],
                           "outputs": [f"out{i}" for i in range(len(outs))], "grads": grads})

    def write(self, out):
        double = self.stored == torch.float64
        save_file(self.tensors, out / f"{self.name}{'.f64' if double else ''}.safetensors")
        if not double:
            (out / f"{self.name}.json").write_text(json.dumps(self.cases, indent=1))
        print(self.name, len(self.cases), "cases,", sum(t.nbytes for t in self.tensors.values()) // 1024, "KiB")


def activations(h):
    f, x = Family("activations"), lambda: torch.randn(3 + h, 17 + h) * 3
    # PyTorch's own gradient of hard_sigmoid takes 1/6 as a float32.
    for name, fn, args in [
        ("relu", F.relu, {}), ("relu6", F.relu6, {}), ("leaky_relu", lambda x: F.leaky_relu(x, 0.01), {"slope": 0.01}),
        ("elu", lambda x: F.elu(x, 1.0), {"alpha": 1.0}), ("selu", F.selu, {}), ("celu", lambda x: F.celu(x, 1.5), {"alpha": 1.5}),
        ("gelu", F.gelu, {}), ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), {}), ("silu", F.silu, {}),
        ("mish", F.mish, {}), ("softplus", F.softplus, {}), ("softsign", F.softsign, {}), ("sigmoid", torch.sigmoid, {}),
        ("log_sigmoid", F.logsigmoid, {}), ("tanh", torch.tanh, {}), ("hard_tanh", F.hardtanh, {}),
        ("hard_sigmoid", lambda x: F.relu6(x + 3) / 6, {}), ("hard_swish", F.hardswish, {}), ("softmax", lambda x: F.softmax(x, -1), {"axis": -1}),
        ("softmax_axis0", lambda x: F.softmax(x, 0), {"axis": 0}), ("log_softmax", lambda x: F.log_softmax(x, -1), {"axis": -1}),
    ]:
        f.add(name, name.replace("_axis0", ""), lambda x, fn=fn: fn(x), {"x": x()}, args=args)
    f.add("glu", "glu", lambda x: F.glu(x, -1), {"x": torch.randn(3, 16 + 2 * h)}, args={"axis": -1})
    f.add("prelu", "prelu", lambda x, weight: F.prelu(x, weight), {"x": torch.randn(2, 5, 6 + h)}, {"weight": torch.rand(5)})
    # Saturation: large magnitudes must stay finite and exact where the limit is exact.
    big = torch.tensor([-1e4, -100.0, -50.0, -20.0, -1e-3, 0.0, 1e-3, 20.0, 50.0, 88.0, 100.0, 1e4])
    for name, fn in [("sigmoid", torch.sigmoid), ("tanh", torch.tanh), ("softplus", F.softplus), ("silu", F.silu), ("gelu", F.gelu),
                     ("log_sigmoid", F.logsigmoid), ("log_softmax", lambda x: F.log_softmax(x, -1)), ("softmax", lambda x: F.softmax(x, -1))]:
        f.add(f"{name}_extreme", name, lambda x, fn=fn: fn(x), {"x": big.clone()}, args={"axis": -1} if "soft" in name and "plus" not in name else {})
    return f


def losses(h):
    f, b, c = Family("losses"), 7 + h, 5 + h
    x, t = (lambda: torch.randn(b, c)), torch.randn(b, c)
    y = torch.randint(0, c, (b,))
    for red in ("mean", "sum", "none"):
        f.add(f"mse_{red}", "mse", lambda x, target: F.mse_loss(x, target, reduction=red), {"x": x(), "target": t.clone()}, args={"reduction": red})
    f.add("l1", "l1", lambda x, target: F.l1_loss(x, target), {"x": x(), "target": t.clone()})
    f.add("smooth_l1", "smooth_l1", lambda x, target: F.smooth_l1_loss(x, target, beta=0.7), {"x": x(), "target": t.clone()}, args={"beta": 0.7})
    f.add("huber", "huber", lambda x, target: F.huber_loss(x, target, delta=0.8), {"x": x(), "target": t.clone()}, args={"delta": 0.8})
    f.add("cross_entropy", "cross_entropy", lambda x, target: F.cross_entropy(x, target), {"x": x(), "target": y})
    f.add("cross_entropy_smoothing", "cross_entropy", lambda x, target: F.cross_entropy(x, target, label_smoothing=0.1), {"x": x(), "target": y}, args={"label_smoothing": 0.1})
    f.add("cross_entropy_weight", "cross_entropy", lambda x, target, weight: F.cross_entropy(x, target, weight=weight.detach()), {"x": x(), "target": y, "weight": torch.rand(c)}, args={"weight": True})
    y2 = y.clone(); y2[0] = -100; y2[2] = -100
    f.add("cross_entropy_ignore", "cross_entropy", lambda x, target: F.cross_entropy(x, target), {"x": x(), "target": y2}, args={"ignore_index": -100})
    f.add("cross_entropy_images", "cross_entropy", lambda x, target: F.cross_entropy(x, target), {"x": torch.randn(2, c, 4, 3), "target": torch.randint(0, c, (2, 4, 3))})
    f.add("cross_entropy_probabilities", "cross_entropy", lambda x, target: F.cross_entropy(x, target.detach()), {"x": x(), "target": torch.softmax(torch.randn(b, c), -1)})
    f.add("nll", "nll", lambda x, target: F.nll_loss(x, target), {"x": F.log_softmax(x(), -1).detach(), "target": y})
    p = torch.rand(b, c)
    f.add("bce", "bce", lambda x, target: F.binary_cross_entropy(x, target), {"x": torch.rand(b, c) * 0.98 + 0.01, "target": p.clone()})
    f.add("bce_with_logits", "bce_with_logits", lambda x, target: F.binary_cross_entropy_with_logits(x, target), {"x": x() * 5, "target": p.clone()})
    f.add("kl_div", "kl_div", lambda x, target: F.kl_div(x, target, reduction="batchmean"), {"x": F.log_softmax(x(), -1).detach(), "target": F.softmax(x(), -1).detach()}, args={"reduction": "batchmean"})
    f.add("hinge_embedding", "hinge_embedding", lambda x, target: F.hinge_embedding_loss(x, target), {"x": x(), "target": torch.where(torch.rand(b, c) > 0.5, 1.0, -1.0)})
    f.add("cosine_similarity", "cosine_similarity", lambda x, target: F.cosine_similarity(x, target, dim=-1), {"x": x(), "target": t.clone()})
    f.add("triplet_margin", "triplet_margin", lambda x, positive, negative: F.triplet_margin_loss(x, positive, negative), {"x": x(), "positive": x(), "negative": x()}, args={"margin": 1.0})
    f.add("poisson_nll", "poisson_nll", lambda x, target: F.poisson_nll_loss(x, target), {"x": x(), "target": torch.randint(0, 5, (b, c)).double()})
    f.add("gaussian_nll", "gaussian_nll", lambda x, target, var: F.gaussian_nll_loss(x, target, var), {"x": x(), "target": t.clone(), "var": torch.rand(b, c) + 0.1})
    lp = F.log_softmax(torch.randn(9, 3, 5), -1).detach()
    f.add("ctc", "ctc", lambda x, target: F.ctc_loss(x, target, torch.tensor([9, 7, 8]), torch.tensor([3, 2, 4])), {"x": lp, "target": torch.randint(1, 5, (3, 4))}, args={"input_lengths": [9, 7, 8], "target_lengths": [3, 2, 4], "blank": 0})
    return f


def layers(h):
    f = Family("layers")
    r = torch.randn
    f.module("linear", "linear", nn.Linear(6 + h, 4), r(3, 6 + h), {"in": 6 + h, "out": 4})
    f.module("linear_3d", "linear", nn.Linear(6, 4, bias=False), r(2, 5, 6), {"in": 6, "out": 4, "bias": False})
    f.module("bilinear", "bilinear", nn.Bilinear(4, 3, 5), {"x": r(6, 4), "y": r(6, 3)}, {"in1": 4, "in2": 3, "out": 5})
    for name, k in [
        ("conv2d", dict(kernel_size=3)), ("conv2d_pad", dict(kernel_size=3, padding=1)), ("conv2d_stride", dict(kernel_size=3, stride=2, padding=1)),
        ("conv2d_1x1", dict(kernel_size=1)), ("conv2d_5x3", dict(kernel_size=(5, 3), padding=(2, 0), stride=(1, 2))), ("conv2d_dilation", dict(kernel_size=3, dilation=2, padding=2)),
        ("conv2d_groups", dict(kernel_size=3, groups=2, padding=1)), ("conv2d_depthwise", dict(kernel_size=3, groups=4, padding=1, stride=2)), ("conv2d_nobias", dict(kernel_size=3, bias=False)),
        ("conv2d_7x7_s2", dict(kernel_size=7, stride=2, padding=3)),
    ]:
        f.module(name, "conv2d", nn.Conv2d(4, 8, **k), r(2, 4, 9 + h, 8 + h), {"in": 4, "out": 8, **k})
    f.module("conv1d", "conv1d", nn.Conv1d(3, 5, 3, padding=1, stride=2), r(2, 3, 11 + h), {"in": 3, "out": 5, "kernel_size": 3, "padding": 1, "stride": 2})
    f.module("conv1d_causal_dilation", "conv1d", nn.Conv1d(3, 5, 2, dilation=4), r(2, 3, 16 + h), {"in": 3, "out": 5, "kernel_size": 2, "dilation": 4})
    f.module("conv3d", "conv3d", nn.Conv3d(2, 3, 3, padding=1), r(1, 2, 4, 5, 6), {"in": 2, "out": 3, "kernel_size": 3, "padding": 1})
    f.module("conv_transpose2d", "conv_transpose2d", nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1), r(2, 4, 5 + h, 4), {"in": 4, "out": 3, "kernel_size": 4, "stride": 2, "padding": 1})
    f.module("conv_transpose2d_outpad", "conv_transpose2d", nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1), r(2, 4, 5, 4), {"in": 4, "out": 3, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1})
    for name, m, a in [
        ("max_pool2d", nn.MaxPool2d(2), {"kernel": 2}), ("max_pool2d_3s2p1", nn.MaxPool2d(3, 2, 1), {"kernel": 3, "stride": 2, "padding": 1}),
        ("avg_pool2d", nn.AvgPool2d(2), {"kernel": 2}), ("avg_pool2d_pad", nn.AvgPool2d(3, 2, 1), {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": True}),
        ("avg_pool2d_pad_exclude", nn.AvgPool2d(3, 2, 1, count_include_pad=False), {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        ("adaptive_avg_pool2d", nn.AdaptiveAvgPool2d((3, 2)), {"output": [3, 2]}), ("global_avg_pool", nn.AdaptiveAvgPool2d(1), {"output": [1, 1]}),
        ("upsample_nearest", nn.Upsample(scale_factor=2), {"scale": 2, "mode": "nearest"}), ("upsample_bilinear", nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), {"scale": 2, "mode": "bilinear"}),
        ("pixel_shuffle", nn.PixelShuffle(2), {"factor": 2}), ("reflection_pad", nn.ReflectionPad2d(2), {"padding": 2}),
    ]:
        f.module(name, name.split("_3s2")[0], m, r(2, 4, 8 + 2 * h, 6), a)
    bn = nn.BatchNorm2d(4)
    f.module("batch_norm2d_train", "batch_norm2d", bn, r(3, 4, 5, 6 + h), {"channels": 4, "mode": "train", "momentum": 0.1, "eps": 1e-5})
    bn = nn.BatchNorm2d(4); bn.running_mean.copy_(r(4)); bn.running_var.copy_(torch.rand(4) + 0.5); bn.eval()
    f.module("batch_norm2d_eval", "batch_norm2d", bn, r(3, 4, 5, 6), {"channels": 4, "mode": "eval", "eps": 1e-5})
    f.module("batch_norm1d_train", "batch_norm1d", nn.BatchNorm1d(6), r(5 + h, 6), {"channels": 6, "mode": "train"})
    f.module("layer_norm", "layer_norm", nn.LayerNorm(10 + h), r(3, 4, 10 + h), {"dim": 10 + h, "eps": 1e-5})
    f.module("group_norm", "group_norm", nn.GroupNorm(2, 6), r(2, 6, 4, 5), {"groups": 2, "channels": 6})
    f.module("instance_norm", "instance_norm", nn.InstanceNorm2d(3, affine=True), r(2, 3, 5, 4), {"channels": 3})
    f.module("rms_norm", "rms_norm", nn.RMSNorm(12, eps=1e-6), r(3, 12), {"dim": 12, "eps": 1e-6})
    f.module("embedding", "embedding", nn.Embedding(11, 5), {"x": torch.randint(0, 11, (3, 4 + h))}, {"vocab": 11, "dim": 5})
    f.module("embedding_padding", "embedding", nn.Embedding(11, 5, padding_idx=0), {"x": torch.randint(0, 3, (3, 4))}, {"vocab": 11, "dim": 5, "padding_idx": 0})
    for cell, cls in (("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)):
        for name, k in [("", {}), ("_2layer", dict(num_layers=2)), ("_bidirectional", dict(bidirectional=True))]:
            m = cls(4, 6 + h, batch_first=True, **k)
            f.module(cell + name, cell, m, r(3, 7, 4), {"in": 4, "hidden": 6 + h, "batch_first": True, **k}, call=lambda m, x: (lambda o: (o[0], *(o[1] if isinstance(o[1], tuple) else (o[1],))))(m(x)))
    mha = nn.MultiheadAttention(8, 2, batch_first=True)
    f.module("multihead_attention", "multihead_attention", mha, r(2, 5 + h, 8), {"dim": 8, "heads": 2}, call=lambda m, x: m(x, x, x, need_weights=False)[0])
    mask = lambda n: torch.triu(torch.full((n, n), float("-inf")), 1)
    f.module("multihead_attention_causal", "multihead_attention", nn.MultiheadAttention(8, 2, batch_first=True), r(2, 5, 8), {"dim": 8, "heads": 2, "causal": True}, call=lambda m, x: m(x, x, x, need_weights=False, attn_mask=mask(5))[0])
    f.module("cross_attention", "multihead_attention", nn.MultiheadAttention(8, 4, batch_first=True), {"x": r(2, 5, 8), "memory": r(2, 7, 8)}, {"dim": 8, "heads": 4}, call=lambda m, x, memory: m(x, memory, memory, need_weights=False)[0])
    f.module("transformer_encoder_layer", "transformer_encoder_layer", nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True), r(2, 5, 8), {"dim": 8, "heads": 2, "ff": 16, "activation": "gelu", "norm_first": True})
    f.module("transformer_decoder_layer", "transformer_decoder_layer", nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True), {"x": r(2, 5, 8), "memory": r(2, 7, 8)}, {"dim": 8, "heads": 2, "ff": 16, "activation": "relu", "norm_first": False})
    return f


def tensor_ops(h):
    f, r = Family("tensor_ops"), torch.randn
    for n, fn in [("exp", torch.exp), ("log", lambda x: torch.log(x.abs() + 0.1)), ("sqrt", lambda x: torch.sqrt(x.abs() + 0.1)), ("rsqrt", lambda x: torch.rsqrt(x.abs() + 0.1)),
                  ("sin", torch.sin), ("cos", torch.cos), ("tan", torch.tan), ("atan", torch.atan), ("erf", torch.erf), ("abs", torch.abs), ("sign", torch.sign), ("floor", torch.floor), ("ceil", torch.ceil), ("round", torch.round),
                  ("square", torch.square), ("reciprocal", lambda x: 1 / (x.abs() + 0.5)), ("log1p", lambda x: torch.log1p(x.abs())), ("expm1", torch.expm1), ("cumsum", lambda x: x.cumsum(-1)), ("sum", lambda x: x.sum()), ("sum_axis", lambda x: x.sum(0)),
                  ("mean_axis", lambda x: x.mean(-1, keepdim=True)), ("max_axis", lambda x: x.amax(-1)), ("min_axis", lambda x: x.amin(0)), ("prod_axis", lambda x: x.prod(-1)), ("var_axis", lambda x: x.var(-1, unbiased=False)), ("std_axis", lambda x: x.std(-1)),
                  ("logsumexp", lambda x: torch.logsumexp(x, -1)), ("norm", lambda x: torch.linalg.vector_norm(x, dim=-1)), ("transpose", lambda x: x.T.contiguous()), ("reshape", lambda x: x.reshape(-1)), ("slice", lambda x: x[1:3, ::2]), ("flip", lambda x: x.flip(-1)),
                  ("pad", lambda x: F.pad(x, (1, 2))), ("roll", lambda x: x.roll(2, -1)), ("tril", torch.tril), ("clamp", lambda x: x.clamp(-0.5, 0.7)), ("pow2_5", lambda x: (x.abs() + 0.1).pow(2.5))]:
        f.add(n, n, lambda x, fn=fn: fn(x), {"x": r(4 + h, 6 + h)})
    for n, fn in [("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("div", torch.div), ("maximum", torch.maximum), ("minimum", torch.minimum), ("atan2", torch.atan2)]:
        f.add(n, n, lambda x, y, fn=fn: fn(x, y), {"x": r(4, 5 + h), "y": r(4, 5 + h) + 0.1})
        f.add(n + "_broadcast", n, lambda x, y, fn=fn: fn(x, y), {"x": r(3, 1, 5), "y": r(4, 1) + 0.1})
    f.add("matmul", "matmul", torch.matmul, {"input": r(5 + h, 7), "other": r(7, 3)})
    f.add("matmul_batched", "matmul", torch.matmul, {"input": r(2, 3, 4, 5), "other": r(3, 5, 6)})
    f.add("matmul_vector", "matmul", torch.matmul, {"input": r(4, 7), "other": r(7)})
    f.add("einsum_bij_bjk", "einsum", lambda x, y: torch.einsum("bij,kj->bik", x, y), {"x": r(2, 3, 4), "y": r(5, 4)}, args={"equation": "bij,kj->bik"})
    f.add("where", "where", lambda c, x, y: torch.where(c, x, y), {"c": torch.rand(3, 4) > 0.5, "x": r(3, 4), "y": r(3, 4)})
    f.add("gather", "gather", lambda x, index: torch.gather(x, 1, index), {"x": r(3, 6), "index": torch.randint(0, 6, (3, 4))}, args={"axis": 1})
    f.add("index_select", "index_select", lambda x, index: torch.index_select(x, 0, index), {"x": r(6, 3), "index": torch.tensor([5, 0, 5, 2])}, args={"axis": 0})
    f.add("scatter_add", "scatter_add", lambda x, index, src: x.scatter_add(0, index, src), {"x": r(5, 3), "index": torch.randint(0, 5, (4, 3)), "src": r(4, 3)}, args={"axis": 0})
    f.add("concat", "concat", lambda x, y: torch.cat((x, y), 1), {"x": r(2, 3), "y": r(2, 4)}, args={"axis": 1})
    f.add("stack", "stack", lambda x, y: torch.stack((x, y), 1), {"x": r(2, 3), "y": r(2, 3)}, args={"axis": 1})
    f.add("argmax", "argmax", lambda x: x.argmax(-1), {"x": r(5, 7)}, args={"axis": -1}, grad=False)
    f.add("topk", "topk", lambda x: tuple(x.topk(3, -1)), {"x": r(5, 7)}, args={"k": 3})
    f.add("sdpa_causal", "attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), {"q": r(2, 2, 7, 4), "k": r(2, 2, 7, 4), "v": r(2, 2, 7, 4)}, args={"causal": True})
    return f


def optimizers(h):
    """Ten steps on 0.5*sum((A w - b)^2) from the same start; `lr` constant. out0 = weights after each step, [10, 6]."""
    f = Family("optimizers")
    a, b, w0 = torch.randn(8, 6), torch.randn(8), torch.randn(6)
    O = torch.optim
    for name, make, args in [
        ("sgd", O.SGD, dict(lr=0.01)), ("sgd_momentum", O.SGD, dict(lr=0.01, momentum=0.9)), ("sgd_nesterov", O.SGD, dict(lr=0.01, momentum=0.9, nesterov=True)),
        ("sgd_weight_decay", O.SGD, dict(lr=0.01, momentum=0.9, weight_decay=0.1)), ("adam", O.Adam, dict(lr=0.05)), ("adam_weight_decay", O.Adam, dict(lr=0.05, weight_decay=0.1)),
        ("adam_amsgrad", O.Adam, dict(lr=0.05, amsgrad=True)), ("adamw", O.AdamW, dict(lr=0.05, weight_decay=0.1)), ("rmsprop", O.RMSprop, dict(lr=0.01)),
        ("rmsprop_centered_momentum", O.RMSprop, dict(lr=0.01, centered=True, momentum=0.9)), ("adagrad", O.Adagrad, dict(lr=0.1)), ("adadelta", O.Adadelta, dict(lr=1.0)),
        ("adamax", O.Adamax, dict(lr=0.05)), ("nadam", O.NAdam, dict(lr=0.05)), ("radam", O.RAdam, dict(lr=0.05)),
    ]:
        w = w0.clone().requires_grad_(True)
        opt, path = make([w], **args), []
        for _ in range(10):
            opt.zero_grad()
            (0.5 * ((a @ w - b) ** 2).sum()).backward()
            opt.step()
            path.append(w.detach().clone())
        for k, v in (("a", a), ("b", b), ("w0", w0), ("out0", torch.stack(path))):
            f.put(name, k, v)
        f.cases.append({"name": name, "op": make.__name__, "args": args, "inputs": ["a", "b", "w0"], "outputs": ["out0"]})
    L = O.lr_scheduler
    for name, make, args in [
        ("step_lr", L.StepLR, dict(step_size=7, gamma=0.5)), ("multi_step_lr", L.MultiStepLR, dict(milestones=[5, 20, 30], gamma=0.3)), ("exponential_lr", L.ExponentialLR, dict(gamma=0.93)),
        ("cosine_annealing_lr", L.CosineAnnealingLR, dict(T_max=40, eta_min=1e-3)), ("cosine_warm_restarts", L.CosineAnnealingWarmRestarts, dict(T_0=8, T_mult=2)),
        ("linear_lr", L.LinearLR, dict(start_factor=0.1, total_iters=10)), ("polynomial_lr", L.PolynomialLR, dict(total_iters=30, power=2.0)),
        ("one_cycle_lr", L.OneCycleLR, dict(max_lr=0.5, total_steps=40)), ("cyclic_lr", L.CyclicLR, dict(base_lr=0.01, max_lr=0.1, step_size_up=6, cycle_momentum=False)),
    ]:
        w = torch.zeros(1, requires_grad=True)
        opt = O.SGD([w], lr=0.1)
        s, lrs = make(opt, **args), []
        for _ in range(40):
            lrs.append(opt.param_groups[0]["lr"])
            opt.step()
            if len(lrs) < 40:
                s.step()
        f.put(name, "out0", torch.tensor(lrs))
        f.cases.append({"name": name, "op": make.__name__, "args": {"base_lr": 0.1, **args}, "inputs": [], "outputs": ["out0"]})
    return f


def metrics(h):
    from sklearn import metrics as M
    f, n = Family("metrics"), 60 + h
    rng = np.random.default_rng(h + 3)
    y, s = rng.integers(0, 2, n), rng.random(n)
    s[::7] = 0.5
    p = (s > 0.5).astype(int)
    yc, sc = rng.integers(0, 4, n), rng.dirichlet(np.ones(4), n)
    pc = sc.argmax(1)
    t, q = rng.normal(size=n), rng.normal(size=n)
    for k, v in (("y", y), ("score", s), ("pred", p), ("y_multi", yc), ("score_multi", sc), ("pred_multi", pc), ("target", t), ("value", q)):
        f.put("data", k, v)
    values = {
        "accuracy": M.accuracy_score(y, p), "balanced_accuracy": M.balanced_accuracy_score(yc, pc), "precision": M.precision_score(y, p), "recall": M.recall_score(y, p), "f1": M.f1_score(y, p),
        "roc_auc": M.roc_auc_score(y, s), "average_precision": M.average_precision_score(y, s), "log_loss": M.log_loss(y, s), "brier": M.brier_score_loss(y, s), "mcc": M.matthews_corrcoef(y, p), "cohen_kappa": M.cohen_kappa_score(yc, pc),
        "accuracy_multi": M.accuracy_score(yc, pc), "top2_accuracy": M.top_k_accuracy_score(yc, sc, k=2), "roc_auc_ovr_macro": M.roc_auc_score(yc, sc, multi_class="ovr"),
        "confusion_multi": M.confusion_matrix(yc, pc).tolist(), "mse": M.mean_squared_error(t, q), "mae": M.mean_absolute_error(t, q), "r2": M.r2_score(t, q), "explained_variance": M.explained_variance_score(t, q),
    }
    for a in ("macro", "micro", "weighted"):
        values |= {f"precision_{a}": M.precision_score(yc, pc, average=a), f"recall_{a}": M.recall_score(yc, pc, average=a), f"f1_{a}": M.f1_score(yc, pc, average=a)}
    f.cases.append({"name": "data", "values": values})
    return f


def more(name, add):
    def make(h):
        f = Family(name)
        add(f, h)
        return f
    return make


FAMILIES = {
    "activations": activations, "losses": losses, "layers": layers, "tensor_ops": tensor_ops, "optimizers": optimizers, "metrics": metrics,
    "more_losses": more("more_losses", more_losses), "more_tensor_ops": more("more_tensor_ops", more_tensor_ops),
}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", type=pathlib.Path, required=True)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--grow", type=int, default=0, help="add N to the sizes that vary, for a second set of other shapes")
    ap.add_argument("--f64", action="store_true", help="store double precision")
    ap.add_argument("--only", nargs="+", choices=list(FAMILIES), help="make these families")
    a = ap.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    if a.f64:
        Family.stored = torch.float64
    for name in a.only or FAMILIES:
        torch.manual_seed(a.seed)
        FAMILIES[name](a.grow).write(a.out)


if __name__ == "__main__":
    main()
