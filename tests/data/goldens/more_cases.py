"""Further losses and tensor ops, for generate.py: inputs and arguments have the names that the methods have here.

An input but the first is passed by its name. "$NAME" in the arguments is the input of that name, "_" an open size.
"""
import torch
import torch.nn.functional as F


def more_losses(f, h):
    r, b, c = torch.randn, 6 + h, 5 + h
    reductions = ("mean", "sum", "none")
    x, t = lambda: r(b, c), lambda: r(b, c)
    signs = lambda *shape: torch.where(torch.rand(*shape) > 0.5, 1.0, -1.0)
    fixed = lambda t: t.detach().clone()
    y = torch.randint(0, c, (b,))
    gaps = y.clone(); gaps[0] = -100; gaps[3] = -100
    images, pixels = lambda: r(2, c, 4, 3), torch.randint(0, c, (2, 4, 3))
    for red in reductions:
        k = {"reduction": red}
        f.add(f"l1_{red}", "l1", lambda x, target: F.l1_loss(x, target, reduction=red), {"x": x(), "target": t()}, args=k)
        f.add(f"smooth_l1_{red}", "smooth_l1", lambda x, target: F.smooth_l1_loss(x, target, beta=0.3, reduction=red), {"x": x(), "target": t()}, args={"beta": 0.3, **k})
        f.add(f"huber_{red}", "huber", lambda x, target: F.huber_loss(x, target, delta=1.3, reduction=red), {"x": x(), "target": t()}, args={"delta": 1.3, **k})
        f.add(f"cross_entropy_{red}_all", "cross_entropy", lambda x, target, weight: F.cross_entropy(x, target, weight.detach(), ignore_index=-100, label_smoothing=0.2, reduction=red),
              {"x": x(), "target": gaps, "weight": torch.rand(c) + 0.1}, args={"label_smoothing": 0.2, **k})
        f.add(f"cross_entropy_{red}_images", "cross_entropy", lambda x, target, weight: F.cross_entropy(x, target, weight.detach(), ignore_index=1, reduction=red),
              {"x": images(), "target": pixels, "weight": torch.rand(c) + 0.1}, args={"ignore_index": 1, **k})
        f.add(f"cross_entropy_{red}_soft", "cross_entropy", lambda x, target, weight: F.cross_entropy(x, target.detach(), weight.detach(), label_smoothing=0.1, reduction=red),
              {"x": images(), "target": torch.softmax(images(), 1), "weight": torch.rand(c) + 0.1}, args={"label_smoothing": 0.1, **k})
        f.add(f"nll_{red}_all", "nll", lambda x, target, weight: F.nll_loss(x, target, weight.detach(), ignore_index=-100, reduction=red),
              {"x": fixed(F.log_softmax(x(), -1)), "target": gaps, "weight": torch.rand(c) + 0.1}, args=k)
        f.add(f"nll_{red}_images", "nll", lambda x, target: F.nll_loss(x, target, reduction=red), {"x": fixed(F.log_softmax(images(), 1)), "target": pixels}, args=k)
        f.add(f"multi_margin_{red}", "multi_margin", lambda x, target, weight: F.multi_margin_loss(x, target, p=2, margin=0.7, weight=weight.detach(), reduction=red),
              {"x": x(), "target": y, "weight": torch.rand(c) + 0.1}, args={"p": 2, "margin": 0.7, **k})
        f.add(f"bce_{red}_weight", "bce", lambda x, target, weight: F.binary_cross_entropy(x, target, weight.detach(), reduction=red),
              {"x": torch.rand(b, c) * 0.98 + 0.01, "target": torch.rand(b, c), "weight": torch.rand(b, c)}, args=k)
        f.add(f"bce_with_logits_{red}_weights", "bce_with_logits", lambda x, target, weight, pos_weight: F.binary_cross_entropy_with_logits(x, target, weight.detach(), pos_weight=pos_weight.detach(), reduction=red),
              {"x": x() * 4, "target": torch.rand(b, c), "weight": torch.rand(c), "pos_weight": torch.rand(c) * 3}, args=k)
        f.add(f"kl_div_{red}", "kl_div", lambda x, target: F.kl_div(x, target, reduction=red), {"x": fixed(F.log_softmax(x(), -1)), "target": fixed(F.softmax(x(), -1))}, args=k)
        f.add(f"hinge_embedding_{red}", "hinge_embedding", lambda x, target: F.hinge_embedding_loss(x, target.detach(), margin=0.6, reduction=red), {"x": x(), "target": signs(b, c)}, args={"margin": 0.6, **k})
        f.add(f"soft_margin_{red}", "soft_margin", lambda x, target: F.soft_margin_loss(x, target.detach(), reduction=red), {"x": x() * 3, "target": signs(b, c)}, args=k)
        f.add(f"margin_ranking_{red}", "margin_ranking", lambda x, y, target: F.margin_ranking_loss(x, y, target.detach(), margin=0.2, reduction=red), {"x": r(b), "y": r(b), "target": signs(b)}, args={"margin": 0.2, **k})
        f.add(f"cosine_embedding_{red}", "cosine_embedding", lambda x, y, target: F.cosine_embedding_loss(x, y, target.detach(), margin=0.1, reduction=red), {"x": x(), "y": x(), "target": signs(b)}, args={"margin": 0.1, **k})
        f.add(f"triplet_margin_{red}_swap", "triplet_margin", lambda x, positive, negative: F.triplet_margin_loss(x, positive, negative, margin=0.8, p=1, swap=True, reduction=red),
              {"x": x(), "positive": x(), "negative": x()}, args={"margin": 0.8, "p": 1, "swap": True, **k})
        f.add(f"poisson_nll_{red}_full", "poisson_nll", lambda x, target: F.poisson_nll_loss(x, target.detach(), full=True, reduction=red), {"x": x(), "target": torch.randint(0, 6, (b, c)).double()}, args={"full": True, **k})
        f.add(f"poisson_nll_{red}_rate", "poisson_nll", lambda x, target: F.poisson_nll_loss(x, target.detach(), log_input=False, eps=1e-3, reduction=red), {"x": torch.rand(b, c), "target": torch.randint(0, 6, (b, c)).double()}, args={"log_input": False, "eps": 1e-3, **k})
        f.add(f"gaussian_nll_{red}_full", "gaussian_nll", lambda x, target, var: F.gaussian_nll_loss(x, target, var, full=True, reduction=red), {"x": x(), "target": t(), "var": torch.rand(b, 1) + 0.2}, args={"full": True, **k})
        f.add(f"focal_{red}", "focal", lambda x, target: focal(x, target.detach(), 0.3, 1.5, red), {"x": x() * 2, "target": (torch.rand(b, c) > 0.5).double()}, args={"alpha": 0.3, "gamma": 1.5, **k})
        f.add(f"dice_{red}", "dice", lambda x, target: reduced(1 - (2 * (x * target).sum((1, 2)) + 1) / ((x + target).sum((1, 2)) + 1), red), {"x": torch.rand(b, 4, 3), "target": (torch.rand(b, 4, 3) > 0.5).double()}, args=k)
        f.add(f"hinge_{red}", "hinge", lambda x, target: reduced((1 - target.detach() * x).clamp(min=0), red), {"x": x(), "target": signs(b, c)}, args=k)
        f.add(f"multilabel_soft_margin_{red}", "multilabel_soft_margin", lambda x, target, weight: F.multilabel_soft_margin_loss(x, target.detach(), weight.detach(), reduction=red), {"x": x(), "target": (torch.rand(b, c) > 0.5).double(), "weight": torch.rand(c)}, args=k)
    f.add("kl_div_log_target", "kl_div", lambda x, target: F.kl_div(x, target, log_target=True, reduction="batchmean"), {"x": fixed(F.log_softmax(x(), -1)), "target": fixed(F.log_softmax(x(), -1))}, args={"log_target": True, "reduction": "batchmean"})
    f.add("smooth_l1_sharp", "smooth_l1", lambda x, target: F.smooth_l1_loss(x, target, beta=0.0), {"x": x(), "target": t()}, args={"beta": 0.0})
    f.add("cross_entropy_one", "cross_entropy", lambda x, target: F.cross_entropy(x, target), {"x": r(c), "target": torch.tensor(2)})
    f.add("multi_margin", "multi_margin", lambda x, target: F.multi_margin_loss(x, target), {"x": x(), "target": y})
    f.add("triplet_margin_2", "triplet_margin", lambda x, positive, negative: F.triplet_margin_loss(x, positive, negative, margin=2.0), {"x": x(), "positive": x(), "negative": x()}, args={"margin": 2.0})
    f.add("triplet_margin_3", "triplet_margin", lambda x, positive, negative: F.triplet_margin_loss(x, positive, negative, margin=2.0, p=3.0), {"x": x(), "positive": x(), "negative": x()}, args={"margin": 2.0, "p": 3.0})
    f.add("hinge_squared", "hinge", lambda x, target: ((0.5 - target.detach() * x).clamp(min=0) ** 2).mean(), {"x": x(), "target": signs(b, c)}, args={"margin": 0.5, "squared": True})
    f.add("focal_unweighted", "focal", lambda x, target: focal(x, target.detach(), -1, 2.0, "mean"), {"x": x() * 2, "target": (torch.rand(b, c) > 0.5).double()}, args={"alpha": -1.0})
    f.add("dice_axes", "dice", lambda x, target: (1 - (2 * (x * target).sum((0, 2)) + 0.5) / ((x + target).sum((0, 2)) + 0.5)).mean(), {"x": torch.rand(b, 4, 3), "target": torch.rand(b, 4, 3)}, args={"axis": [0, 2], "smooth": 0.5})
    f.add("pairwise_distance", "pairwise_distance", lambda x, y: F.pairwise_distance(x, y, p=3.0, keepdim=True), {"x": x(), "y": x()}, args={"p": 3.0, "keepdim": True})


    labels = torch.tensor([[1, 1, 2, 2], [3, 4, 0, 0], [2, 2, 2, 2], [4, 3, 2, 1]])  # repeated, padded, none, too many
    for red in reductions:
        f.add(f"ctc_{red}", "ctc", lambda x, target, input_lengths, target_lengths: F.ctc_loss(x, target, input_lengths, target_lengths, reduction=red, zero_infinity=True),
              {"x": fixed(F.log_softmax(r(9 + h, 4, 6), -1)), "target": labels, "input_lengths": torch.tensor([9, 5, 7, 3]), "target_lengths": torch.tensor([4, 2, 0, 4])}, args={"reduction": red, "zero_infinity": True})
    f.add("ctc_blank", "ctc", lambda x, target: F.ctc_loss(x, target, torch.full((3,), 12), torch.full((3,), 4), blank=5, reduction="sum"),
          {"x": fixed(F.log_softmax(r(12, 3, 6), -1)), "target": torch.randint(0, 5, (3, 4))}, args={"blank": 5, "reduction": "sum"})
    f.add("ctc_of_logits", "ctc", lambda x, target: F.ctc_loss(F.log_softmax(x, -1), target, torch.full((2,), 70), torch.full((2,), 5)),
          {"x": r(70, 2, 6), "target": torch.randint(1, 6, (2, 5))}, args={})


def focal(x, target, alpha, gamma, reduction):
    """As torchvision.ops.sigmoid_focal_loss."""
    p, ce = torch.sigmoid(x), F.binary_cross_entropy_with_logits(x, target, reduction="none")
    loss = ce * (1 - (p * target + (1 - p) * (1 - target))) ** gamma
    if alpha >= 0:
        loss = (alpha * target + (1 - alpha) * (1 - target)) * loss
    return reduced(loss, reduction)


def reduced(loss, reduction):
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def more_tensor_ops(f, h):
    r, pos = torch.randn, lambda *shape: torch.rand(*shape) + 0.1
    inner = lambda *shape: torch.rand(*shape) * 1.8 - 0.9
    a, b = 4 + h, 6 + h

    def one(name, fn, x=None, op=None, grad=True, **args):
        f.add(name, op or name, lambda x: fn(x), {"x": r(a, b) if x is None else x}, args=args, grad=grad)

    def two(name, fn, x, y, op=None, grad=True, name2="y", **args):
        f.add(name, op or name, lambda **k: fn(*k.values()), {"x": x, name2: y}, args=args, grad=grad)

    # Functions of elements.
    for name in ("exp2", "sinh", "cosh", "asinh", "frac"):
        one(name, getattr(torch, name))
    for name in ("log2", "log10"):
        one(name, getattr(torch, name), pos(a, b))
    for name in ("asin", "acos", "atanh"):
        one(name, getattr(torch, name), inner(a, b))
    one("asinh_far", torch.asinh, r(a, b) * 1e12, op="asinh")
    one("acosh", torch.acosh, 1 + pos(a, b))
    one("trunc", torch.trunc, r(a, b) * 3, grad=False)
    one("logit", lambda x: torch.logit(x, 0.2), torch.rand(a, b), eps=0.2)
    bad = lambda: torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -2.5, 1e30])
    for name in ("isnan", "isinf", "isfinite"):
        one(name, getattr(torch, name), bad(), grad=False)
    one("nan_to_num", lambda x: torch.nan_to_num(x, 7.0, 8.0, -9.0), bad(), grad=False, nan=7.0, posinf=8.0, neginf=-9.0)
    for name in ("fmod", "remainder"):
        two(name, getattr(torch, name), r(a, b) * 5, torch.where(torch.rand(a, b) > 0.5, 1.0, -1.0) * (torch.rand(a, b) + 0.5))
        two(f"{name}_whole", getattr(torch, name), torch.randint(-9, 9, (a, b)), torch.tensor([1, 2, 3, -1, -2, -3])[torch.randint(0, 6, (a, b))], op=name, grad=False)
    two("floor_divide", torch.floor_divide, r(a, b) * 5, pos(a, b), grad=False)
    two("floor_divide_whole", torch.floor_divide, torch.randint(-9, 9, (a, b)), torch.tensor([1, 2, 3, -1, -2, -3])[torch.randint(0, 6, (a, b))], op="floor_divide", grad=False)
    two("hypot", torch.hypot, r(a, b), r(b))
    two("logaddexp", torch.logaddexp, r(a, b) * 40, r(a, 1) * 40)
    two("xlogy", torch.xlogy, torch.where(torch.rand(a, b) > 0.3, r(a, b), 0.0), pos(a, b))
    two("logical_xor", torch.logical_xor, torch.rand(a, b) > 0.5, torch.rand(a, b) > 0.5, grad=False)
    for name in ("gt", "ge", "lt", "le", "eq", "ne"):
        two(name, getattr(torch, name), torch.randint(0, 3, (a, b)).double(), torch.randint(0, 3, (b,)).double(), grad=False)
    f.add("lerp", "lerp", lambda x, end, weight: torch.lerp(x, end, weight), {"x": r(a, b), "end": r(a, b), "weight": torch.rand(a, b)})
    for name in ("addcmul", "addcdiv"):
        f.add(name, name, lambda x, tensor1, tensor2: getattr(torch, name)(x, tensor1, tensor2, value=0.5), {"x": r(a, b), "tensor1": r(a, b), "tensor2": pos(b)}, args={"value": 0.5})
    f.add("clamp_tensors", "clamp", lambda x, min, max: torch.clamp(x, min, max), {"x": r(a, b) * 2, "min": -pos(b), "max": pos(a, b)})
    one("clamp_min", lambda x: x.clamp(min=0.2), op="clamp", min=0.2)
    f.add("masked_fill", "masked_fill", lambda x, mask: x.masked_fill(mask, -3.5), {"x": r(a, b), "mask": torch.rand(a, b) > 0.5}, args={"value": -3.5})
    one("one_hot", lambda x: F.one_hot(x, 5), torch.randint(0, 5, (a, 2)), grad=False, num_classes=5, dtype="i64")
    one("to_whole", lambda x: x.to(torch.int64), r(a, b) * 9, op="to", grad=False, dtype="i64")

    # Reductions.
    for p in (1, 3, 0, "inf", "-inf"):
        one(f"norm_{p}", lambda x: torch.linalg.vector_norm(x, float(p), dim=-1), op="norm", grad=p != 0, axis=-1, p=p)
    one("norm_of_nothing", lambda x: torch.linalg.vector_norm(x * torch.tensor([[0.0], [1.0], [0.0], [1.0]] + [[1.0]] * h), dim=-1), torch.cat((torch.zeros(1, b), r(1, b), torch.zeros(1, b), r(a - 3, b))), op="norm", axis=-1)
    one("normalize", lambda x: F.normalize(x, dim=0), axis=0)
    one("normalize_1", lambda x: F.normalize(x, p=1, dim=-1), op="normalize", p=1.0)
    one("var_all", lambda x: torch.var(x), op="var")
    one("var_correction", lambda x: torch.var(x, dim=(0, 1), correction=2, keepdim=True), op="var", axis=[0, 1], correction=2, keepdim=True)
    one("var_mean", lambda x: tuple(torch.var_mean(x, dim=-1)), axis=-1)
    one("count_nonzero", lambda x: torch.count_nonzero(x, 0), torch.randint(-1, 2, (a, b)), grad=False, axis=0)
    one("argmin", lambda x: x.argmin(0), grad=False, axis=0)
    one("argmin_bytes", lambda x: x.argmin(-1), torch.randint(0, 9, (a, b)), op="argmin", grad=False, axis=-1)
    one("any", lambda x: x.any(-1), torch.rand(a, b) > 0.8, grad=False, axis=-1)
    one("all", lambda x: x.all(0), torch.rand(a, b) > 0.2, grad=False, axis=0)
    one("trace", torch.trace, r(b, b))

    # Running folds: axes shorter and longer than a block.
    for n in (7 + h, 130 + h, 300 + h):
        one(f"cumsum_{n}", lambda x: x.cumsum(1), r(2, n, 2), op="cumsum", axis=1)
        one(f"cumprod_{n}", lambda x: x.cumprod(-1), 1 + 0.1 * r(3, n), op="cumprod", axis=-1)
        one(f"logcumsumexp_{n}", lambda x: x.logcumsumexp(0), r(n, 2) * 30, op="logcumsumexp", axis=0)
        one(f"cummax_{n}", lambda x: tuple(x.cummax(-1)), r(2, n), op="cummax")
        one(f"cummin_{n}", lambda x: tuple(x.cummin(0)), r(n, 2), op="cummin", axis=0)
    one("cumsum_infinite", lambda x: x.cumsum(-1), torch.tensor([1.0, float("inf"), 2.0, -float("inf"), 3.0]), op="cumsum", grad=False)
    one("cumprod_zero", lambda x: x.cumprod(-1), torch.tensor([[1.5, 0.0, 2.0, 3.0], [0.5, 2.0, 0.0, 0.7]]), op="cumprod")
    one("cumsum_whole", lambda x: x.cumsum(0), torch.randint(-9, 9, (150, 2)), op="cumsum", grad=False, axis=0)
    one("cummax_nan", lambda x: tuple(x.cummax(-1)), torch.tensor([1.0, 3.0, float("nan"), 9.0, float("nan"), 1.0]), op="cummax", grad=False)

    # Order.
    for name, k in [("sort", {}), ("sort_descending", {"descending": True}), ("sort_axis0", {"axis": 0})]:
        one(name, lambda x: tuple(torch.sort(x, dim=k.get("axis", -1), descending=k.get("descending", False), stable=True)), r(a, 40 + h), op="sort", **k)
    one("sort_special", lambda x: tuple(torch.sort(x, stable=True)), torch.tensor([2.0, float("nan"), -0.0, 0.0, float("inf"), -1.0, -float("inf"), 2.0]), op="sort", grad=False)
    one("sort_special_descending", lambda x: tuple(torch.sort(x, stable=True, descending=True)), torch.tensor([2.0, float("nan"), -0.0, 0.0, float("inf"), -1.0, -float("inf"), 2.0]), op="sort", grad=False, descending=True)
    one("argsort_whole", lambda x: torch.argsort(x, dim=0, stable=True), torch.randint(0, 4, (30, 3)), op="argsort", grad=False, axis=0)
    one("topk_smallest", lambda x: tuple(x.topk(2, 0, largest=False)), op="topk", k=2, axis=0, largest=False)
    one("kthvalue", lambda x: tuple(x.kthvalue(3, -1)), k=3, axis=-1)
    one("median", lambda x: x.median())
    one("median_axis", lambda x: x.median(-1, keepdim=True)[0], op="median", axis=-1, keepdim=True)
    for word in ("linear", "lower", "higher", "nearest", "midpoint"):
        one(f"quantile_{word}", lambda x: torch.quantile(x, 0.3, dim=0, interpolation=word), r(7 + h, 3), op="quantile", q=0.3, axis=0, interpolation=word)

    # Movement.
    one("tril_below", lambda x: x.tril(-1), r(2, a, b), op="tril", diagonal=-1)
    one("triu_above", lambda x: x.triu(2), op="triu", diagonal=2)
    one("flip_two", lambda x: x.flip(0, 1), op="flip", axis=[0, 1])
    one("roll_two", lambda x: x.roll((1, -2), (0, 1)), op="roll", shift=[1, -2], axis=[0, 1])
    one("split", lambda x: x.split(4, -1), sizes=4, axis=-1)
    one("split_sizes", lambda x: x.split([1, 2, 3 + h], -1), op="split", sizes=[1, 2, 3 + h], axis=-1)
    one("chunk", lambda x: x.chunk(2, 0), r(4, 3), chunks=2, axis=0)
    one("unbind", lambda x: x.unbind(1), r(2, 3), axis=1)
    one("narrow", lambda x: x.narrow(-1, 1, 3), axis=-1, start=1, length=3)
    one("tile", lambda x: x.tile(2, 1, 3), repeats=[2, 1, 3])
    one("tile_fewer", lambda x: x.tile(2), op="tile", repeats=2)
    one("repeat_interleave", lambda x: x.repeat_interleave(3, 0), repeats=3, axis=0)
    one("expand", lambda x: x.expand(3, -1, b), r(a, 1), shape=[3, "_", b])
    one("movedim", lambda x: x.movedim((0, 1), (2, 0)), r(2, 3, 4), source=[0, 1], destination=[2, 0])
    one("swapaxes", lambda x: x.swapaxes(0, 2), r(2, 3, 4), axis0=0, axis1=2)
    one("squeeze", lambda x: x.squeeze(1), r(2, 1, 3), axis=1)
    one("unsqueeze", lambda x: x.unsqueeze(-1), axis=-1)
    one("unflatten", lambda x: x.unflatten(1, (2, -1)), r(3, 8), axis=1, sizes=[2, "_"])
    one("unfold", lambda x: x.unfold(1, 3, 2), r(2, 8 + h, 2), axis=1, size=3, step=2)
    one("diag_matrix", lambda x: x.diag(1), op="diag", offset=1)
    one("diag_vector", lambda x: x.diag(-2), r(b), op="diag", offset=-2)
    one("diagonal", lambda x: x.diagonal(-1, 0, 2), r(4, 2, 5), offset=-1, dim1=0, dim2=2)
    one("diag_embed", lambda x: x.diag_embed(1), offset=1)

    # Products and indices.
    two("outer", torch.outer, r(a), r(b))
    two("dot", torch.dot, r(b), r(b))
    two("bmm", torch.bmm, r(2, a, 3), r(2, 3, b))
    two("cross", lambda x, y: torch.linalg.cross(x, y, dim=0), r(3, a), r(3, a), axis=0)
    for p in (1.0, 2.0, 3.0):
        two(f"cdist_{p:g}", lambda x, y: torch.cdist(x, y, p=p), r(2, a, 3), r(2, b, 3), op="cdist", p=p)
    f.add("addmm", "addmm", lambda x, mat1, mat2: torch.addmm(x, mat1, mat2, beta=0.5, alpha=2.0), {"x": r(b), "mat1": r(a, 3), "mat2": r(3, b)}, args={"beta": 0.5, "alpha": 2.0})
    f.add("baddbmm", "baddbmm", lambda x, batch1, batch2: torch.baddbmm(x, batch1, batch2), {"x": r(2, a, b), "batch1": r(2, a, 3), "batch2": r(2, 3, b)})
    two("take_along", lambda x, index: torch.take_along_dim(x, index, 1), r(a, b), torch.randint(0, b, (1, 3)), name2="index", axis=1)
    f.add("index_add", "index_add", lambda x, index, src: x.index_add(1, index, src), {"x": r(a, b), "index": torch.tensor([2, 0, 2]), "src": r(a, 3)}, args={"axis": 1})
    f.add("scatter", "scatter", lambda x, index, src: x.scatter(1, index, src), {"x": r(a, b), "index": torch.stack([torch.randperm(b)[:3] for _ in range(a)]), "src": r(a, 3)}, args={"axis": 1})
    f.add("scatter_number", "scatter", lambda x, index: x.scatter(0, index, 2.5), {"x": r(a, b), "index": torch.tensor([[1] * b])}, args={"axis": 0, "src": 2.5})
    f.add("meshgrid", "meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="ij"), {"x": r(3), "y": r(4)}, args={"tensors": ["$x", "$y"]})
    f.add("meshgrid_xy", "meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="xy"), {"x": r(3), "y": r(4)}, args={"tensors": ["$x", "$y"], "indexing": "xy"})

    # Layers as functions.
    two("linear", F.linear, r(2, 3, b), r(5, b), name2="weight")
    f.add("linear_bias", "linear", lambda x, weight, bias: F.linear(x, weight, bias), {"x": r(a, b), "weight": r(3, b), "bias": r(3)})
    two("conv1d", lambda x, w: F.conv1d(x, w, stride=2, padding=1), r(2, 3, 9 + h), r(4, 3, 3), name2="weight", stride=2, padding=1)
    f.add("conv2d", "conv2d", lambda x, weight, bias: F.conv2d(x, weight, bias, padding=(1, 0), dilation=2, groups=2), {"x": r(2, 4, 7, 8), "weight": r(6, 2, 3, 2), "bias": r(6)}, args={"padding": [1, 0], "dilation": 2, "groups": 2})
    two("conv2d_same", lambda x, w: F.conv2d(x, w, padding="same"), r(2, 3, 5, 6), r(4, 3, 3, 4), op="conv2d", name2="weight", padding="same")
    two("conv3d", lambda x, w: F.conv3d(x, w), r(1, 2, 4, 5, 3), r(3, 2, 2, 3, 2), name2="weight")
    edges = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    two("bucketize", lambda x, e: torch.bucketize(x, e), torch.cat((r(9), edges, torch.tensor([float("nan")]))), edges, grad=False, name2="boundaries")
    two("bucketize_right", lambda x, e: torch.bucketize(x, e, right=True), torch.cat((r(3), edges)), edges, op="bucketize", grad=False, name2="boundaries", right=True)
