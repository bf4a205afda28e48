"""Steps of ecqx beside the same steps in PyTorch, interleaved in the same minutes; prints a Markdown table of ratios.

The PyTorch side is written for this comparison, vectorised: assignment by a running minimum over levels, the search for
beta by counting thresholds, relevance by one vector-Jacobian product per rule. Usage: bench.py STEP_TIMES [ROUNDS [MODELS [STEPS]]]
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

THREADS = int(os.environ.get("THREADS", "2"))
BATCH = 64
BITS, LAMBDA, P, MOMENTUM = 4, 0.05, 0.1, 0.1


class Shortcut(nn.Module):
    def __init__(self, extra):
        super().__init__()
        self.extra = extra

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))


def build(name):
    """Layers in order: (name, module or 'add', names of inputs)."""
    layers = []
    last = "input"

    def push(name, module, inputs=None):
        nonlocal last
        layers.append((name, module, inputs or [last]))
        last = name

    if name == "mlp":
        sizes = [735, 512, 512, 256, 256, 128, 128, 12]
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            push(f"fc{i}", nn.Linear(a, b))
            if i < len(sizes) - 2:
                push(f"relu{i}", nn.ReLU())
    elif name == "vgg16":
        plan, channels, i = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0], 3, 0
        for width in plan:
            if width == 0:
                push(f"pool{i}", nn.MaxPool2d(2))
            else:
                push(f"conv{i}", nn.Conv2d(channels, width, 3, padding=1))
                push(f"bn{i}", nn.BatchNorm2d(width))
                push(f"relu{i}", nn.ReLU())
                channels = width
            i += 1
        push("flatten", nn.Flatten())
        for i, (a, b) in enumerate([(512, 512), (512, 512), (512, 10)]):
            push(f"fc{i}", nn.Linear(a, b))
            if i < 2:
                push(f"fcrelu{i}", nn.ReLU())
                push(f"dropout{i}", nn.Dropout(0.5))
    else:
        push("conv", nn.Conv2d(3, 16, 3, padding=1, bias=False))
        push("bn", nn.BatchNorm2d(16))
        push("relu", nn.ReLU())
        channels = 16
        for width in (16, 32, 64):
            for block in range(3):
                entry, at = last, f"{width}.{block}"
                stride = 2 if width != channels else 1
                push(f"{at}.conv1", nn.Conv2d(channels, width, 3, stride, 1, bias=False))
                push(f"{at}.bn1", nn.BatchNorm2d(width))
                push(f"{at}.relu1", nn.ReLU())
                push(f"{at}.conv2", nn.Conv2d(width, width, 3, 1, 1, bias=False))
                push(f"{at}.bn2", nn.BatchNorm2d(width))
                main, identity = last, entry
                if stride == 2:
                    push(f"{at}.shortcut", Shortcut(width // 4), [entry])
                    identity = last
                push(f"{at}.add", "add", [identity, main])
                push(f"{at}.relu2", nn.ReLU())
                channels = width
        push("pool", nn.AdaptiveAvgPool2d(1))
        push("flatten", nn.Flatten())
        push("linear", nn.Linear(64, 10))
    return layers


class Net(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.layers = build(name)
        self.list = nn.ModuleList(m for _, m, _ in self.layers if m != "add")

    def forward(self, x, values=None):
        values = {} if values is None else values
        values["input"] = x
        for name, module, inputs in self.layers:
            values[name] = sum(values[i] for i in inputs) if module == "add" else module(values[inputs[0]])
        return values[self.layers[-1][0]]


def stab(z, eps=1e-6):
    return z + torch.where(z >= 0, eps, -eps)


def run(module, x, weight, bias):
    if isinstance(module, nn.Linear):
        return F.linear(x, weight, bias)
    return F.conv2d(x, weight, bias, module.stride, module.padding)


def relevance(net, x, y):
    """Weight relevance by epsilon, zplus (convolutions), pass (batch norm), flat (first layer, not needed)."""
    net.eval()
    values = {}
    with torch.no_grad():
        out = net(x, values)
        start = torch.zeros_like(out)
        rows = torch.arange(len(y))
        start[rows, y] = out[rows, y] / len(y)
    arriving, found, first = {net.layers[-1][0]: start}, {}, True
    first_name = next(n for n, m, _ in net.layers if isinstance(m, (nn.Linear, nn.Conv2d)))
    for name, module, inputs in reversed(net.layers):
        r = arriving.pop(name, None)
        if r is None:
            continue
        z = values[name]
        if module == "add":
            share = r / stab(z)
            for i in inputs:
                arriving[i] = arriving.get(i, 0) + values[i] * share
            continue
        source = inputs[0]
        v = values[source]
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            weight = module.weight.detach().requires_grad_()
            g = r / stab(z)
            with torch.enable_grad():
                if isinstance(module, nn.Linear):
                    found[module] = weight.detach() * (g.t() @ v)
                else:
                    grad = torch.nn.grad.conv2d_weight(v, weight.shape, g, module.stride, module.padding)
                    found[module] = weight.detach() * grad
            if name == first_name:
                continue
            w = weight.detach()
            if isinstance(module, nn.Linear):
                part = v * (g @ w)
            else:
                w = w.clamp(min=0)
                bias = None if module.bias is None else module.bias.detach().clamp(min=0)
                g = r / stab(run(module, v, w, bias))
                part = v * torch.nn.grad.conv2d_input(v.shape, w, g, module.stride, module.padding)
        elif isinstance(module, (nn.AdaptiveAvgPool2d, Shortcut)):
            vv = v.requires_grad_()
            with torch.enable_grad():
                part = v.detach() * torch.autograd.grad(module(vv), vv, r / stab(z))[0]
        elif isinstance(module, nn.MaxPool2d):
            vv = v.requires_grad_()
            with torch.enable_grad():
                part = torch.autograd.grad(module(vv), vv, r)[0]
        else:
            part = r.reshape(v.shape)
        arriving[source] = arriving.get(source, 0) + part.detach()
    net.train()
    return found


class Ecq:
    """Entropy-constrained assignment on a fixed uniform grid, with or without relevance."""

    def __init__(self, net):
        self.modules = [m for _, m, _ in net.layers if isinstance(m, (nn.Linear, nn.Conv2d))]
        self.background = [m.weight.detach().clone() for m in self.modules]
        self.largest = max(w.numel() for w in self.background)
        self.levels = []
        for w in self.background:
            step = torch.quantile(w.abs().flatten()[:16_000_000], 0.999) / (2 ** (BITS - 1) - 1)
            self.levels.append(step * torch.arange(-(2 ** (BITS - 1)), 2 ** (BITS - 1)))
        self.momentum = {}

    def cheapest(self, w, levels, penalties):
        best, at = torch.full_like(w, math.inf), torch.zeros_like(w, dtype=torch.int64)
        for i, (level, penalty) in enumerate(zip(levels.tolist(), penalties.tolist())):
            cost = (level - w) ** 2 + penalty
            wins = cost < best
            best, at = torch.where(wins, cost, best), torch.where(wins, i, at)
        return best, at

    def assign(self, found=None):
        for module, w, levels in zip(self.modules, self.background, self.levels):
            zero = len(levels) // 2
            step = levels[1] - levels[0]
            nearest = (w / step).round().clamp(-zero, zero - 1).long() + zero
            pmf = torch.bincount(nearest.flatten(), minlength=len(levels)) / w.numel()
            information = -pmf.log2()
            information[pmf == 0] = math.inf
            lo, hi = nearest.min(), nearest.max()

            def bound(level, extreme):
                distance = (levels[level] - extreme) ** 2
                return (distance + extreme) ** 2 / (information[level] - information[zero])

            scale = torch.maximum(bound(hi, w.max()), bound(lo, w.min())).clamp(min=0)
            decay = (w.numel() / self.largest + 0.05) / 1.05
            penalties = torch.where(information.isinf(), math.inf, scale * LAMBDA * decay * information)
            _, at = self.cheapest(w, levels, penalties)
            if found is not None:
                new = found[module]
                old = self.momentum.get(module)
                r = new if old is None else (1 - MOMENTUM) * new + MOMENTUM * old
                self.momentum[module] = r
                r = r.abs() / (r.abs().max() + 1e-12)
                wanted = ((at == zero).float().mean() - P).clamp(min=0)
                others = penalties.clone()
                others[zero] = math.inf
                best, at_best = self.cheapest(w, levels, others)
                cost0 = w**2 + penalties[zero]
                # Zero wins where beta exceeds this threshold.
                tau = (best / (2 * cost0)).clamp(min=1e-30).log() / r.clamp(min=1e-30, max=1 - 1e-7).log()
                sparsity = lambda beta: (tau <= beta).float().mean()
                low, high = 0.0, 1.0
                for _ in range(20):
                    middle = 0.5 * (low + high)
                    low, high = (middle, high) if sparsity(middle) < wanted else (low, middle)
                at = torch.where(tau <= high, zero, at_best)
            module.weight.data.copy_(levels[at])


def torch_times(name, kind, repeats):
    torch.manual_seed(1)
    net = Net(name)
    shape = (735,) if name == "mlp" else (3, 32, 32)
    classes = 12 if name == "mlp" else 10
    times = []
    if kind == "inference":
        net.eval()
        x = torch.randn(256, *shape)
        with torch.inference_mode():
            for _ in range(repeats + 1):
                start = time.perf_counter()
                net(x)
                times.append(1000 * (time.perf_counter() - start))
        return times[1:]
    x, y = torch.randn(BATCH, *shape), torch.arange(BATCH) % classes
    net.train()
    quantizer = None if kind == "plain" else Ecq(net)
    if quantizer:
        quantizer.assign()
        own = {id(m.weight) for m in quantizer.modules}
        rest = torch.optim.Adam([p for p in net.parameters() if id(p) not in own], 1e-4, fused=True)
        copies = torch.optim.Adam(quantizer.background, 1e-4, fused=True)
    else:
        optimizer = torch.optim.Adam(net.parameters(), 1e-4, fused=True)
    for _ in range(repeats + 1):
        start = time.perf_counter()
        net.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), y).backward()
        if quantizer is None:
            optimizer.step()
        else:
            for module, w in zip(quantizer.modules, quantizer.background):
                q = module.weight.detach()
                w.grad = module.weight.grad * torch.where(q == 0, 1.0, q.abs())
            rest.step()
            copies.step()
            found = None
            if kind == "ecqx":
                quantized = [m.weight.detach().clone() for m in quantizer.modules]
                for module, w in zip(quantizer.modules, quantizer.background):
                    module.weight.data.copy_(w)
                found = relevance(net, x, y)
                del quantized
            with torch.no_grad():
                quantizer.assign(found)
        times.append(1000 * (time.perf_counter() - start))
    return times[1:]


def ours(binary, name, kind, repeats):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(THREADS))
    output = subprocess.run([binary, name, kind, str(repeats)], env=environment, capture_output=True, check=True)
    return json.loads(output.stdout)


def gflops(result):
    """Billions of operations per second at the median time; operations by the direct sums."""
    return result["operations"] / statistics.median(result["milliseconds"]) / 1e6


def main():
    binary = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    names = sys.argv[3].split(",") if len(sys.argv) > 3 else ["mlp", "resnet20", "vgg16"]
    kinds = sys.argv[4].split(",") if len(sys.argv) > 4 else ["plain", "inference", "ecq", "ecqx"]
    torch.set_num_threads(THREADS)
    repeats = {"mlp": 40, "resnet20": 6, "vgg16": 3}
    print(f"torch {torch.__version__}, {THREADS} threads, batch {BATCH} (inference 256), medians of {rounds} rounds")
    print("Of the peak: operations by the direct sums over those of a 1024x1024x1024 product in the same minute.\n")
    print("| model | step | ecqx, ms | PyTorch, ms | ratio | over own plain step | of the peak | peak memory, MB | over needed |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in names:
        plain = None
        for kind in kinds:
            a, b, shares, peak, needed = [], [], [], 0, 1
            for _ in range(rounds):
                most = gflops(ours(binary, "gemm", "peak", 20))
                result = ours(binary, name, kind, repeats[name])
                a.append(statistics.median(result["milliseconds"]))
                shares.append(gflops(result) / most)
                peak, needed = max(peak, result["peak_bytes"] or 0), result["needed_bytes"]
                b.append(statistics.median(torch_times(name, kind, repeats[name])))
            ratio = statistics.median(x / y for x, y in zip(a, b))
            a, b = statistics.median(a), statistics.median(b)
            plain = a if kind == "plain" else plain
            own = "" if kind == "inference" or plain is None else f"{a / plain:.2f}"
            share = f"{100 * statistics.median(shares):.0f} %" if kind in ("plain", "inference") else ""
            over = f"{peak / needed:.1f}" if kind != "inference" else ""
            row = [name, kind, f"{a:.1f}", f"{b:.1f}", f"{ratio:.2f}", own, share, f"{peak / 1e6:.0f}", over]
            print("| " + " | ".join(row) + " |", flush=True)


main()
