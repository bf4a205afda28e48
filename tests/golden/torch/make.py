"""Writes logits.json: what PyTorch computes for each architecture, with weights and inputs from a formula that
src/model/torch_tests.rs has as well. torchvision's models are torchvision's own; without it they are left out, and the
file keeps the numbers it has. Run: python3 tests/golden/torch/make.py"""

import json
import math
import os

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
CLASSES, SAMPLES = 10, 2


def uniform(name, count):
    """`count` numbers in (-1, 1): a hash of the position, started by a hash of the name."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    x = np.arange(count, dtype=np.uint64) + seed & 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    x ^= x >> 16
    return (x.astype(np.float64) + 0.5) / 2**31 - 1.0


def values(name, shape):
    u = uniform(name, math.prod(shape))
    if name.endswith("running_var"):
        u = 1.0 + 0.5 * u
    elif name.endswith("running_mean") or name.endswith(".bias"):
        u = 0.1 * u
    elif len(shape) == 1:
        u = 1.0 + 0.25 * u
    else:
        u = math.sqrt(6.0 / math.prod(shape[1:])) * u
    return torch.from_numpy(u.astype(np.float32).reshape(shape))


class Basic(nn.Module):
    """He et al. 2015, section 4.2: shortcuts without parameters."""

    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.stride, self.extra = stride, planes - inputs
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.extra or self.stride != 1:
            side = self.extra // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, self.extra - side))
        return F.relu(out + x)


class ResNetCifar(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inputs = 16
        for stage, planes in enumerate([16, 32, 64], 1):
            layer = []
            for block in range(blocks):
                layer.append(Basic(inputs, planes, 2 if stage > 1 and block == 0 else 1))
                inputs = planes
            setattr(self, f"layer{stage}", nn.Sequential(*layer))
        self.linear = nn.Linear(64, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class WideBlock(nn.Module):
    """Zagoruyko & Komodakis 2016, figure 1c."""

    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        same = inputs == planes
        self.convShortcut = None if same else nn.Conv2d(inputs, planes, 1, stride, bias=False)

    def forward(self, x):
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (self.convShortcut(active) if self.convShortcut else x)


class WideResNet(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        inputs = 16
        for stage, base in enumerate([16, 32, 64], 1):
            layer = []
            for block in range((depth - 4) // 6):
                layer.append(WideBlock(inputs, base * width, 2 if stage > 1 and block == 0 else 1))
                inputs = base * width
            group = nn.Module()
            group.layer = nn.Sequential(*layer)
            setattr(self, f"block{stage}", group)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = self.conv1(x)
        for block in (self.block1, self.block2, self.block3):
            x = block.layer(x)
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class Layers(nn.Module):
    """layers.yaml."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.group = nn.GroupNorm(4, 8)
        self.depthwise = nn.Conv2d(8, 8, (3, 5), (1, 2), (1, 2), groups=8)
        self.reduce = nn.Conv2d(8, 2, 1)
        self.expand = nn.Conv2d(2, 8, 1)
        self.branch = nn.Conv2d(8, 3, 1, bias=False)
        self.layer = nn.LayerNorm([88])
        self.fc = nn.Linear(88, CLASSES)

    def forward(self, x):
        depthwise = self.depthwise(F.silu(self.group(self.stem(x))))
        hard = F.hardswish(depthwise)
        gate = torch.sigmoid(self.expand(F.gelu(self.reduce(hard.mean((2, 3), keepdim=True)))))
        six = F.relu6(self.branch(F.leaky_relu(depthwise, 0.1)))
        pool = F.adaptive_avg_pool2d(torch.cat([hard * gate, six], 1), (2, 4))
        return self.fc(torch.tanh(self.layer((torch.softmax(pool, 1) + pool).flatten(1))))


MODELS = {
    "layers": (Layers, [3, 9, 11], {}),
    "resnet20": (lambda: ResNetCifar(3), [3, 32, 32], {}),
    "resnet32": (lambda: ResNetCifar(5), [3, 32, 32], {}),
    "resnet44": (lambda: ResNetCifar(7), [3, 32, 32], {}),
    "resnet56": (lambda: ResNetCifar(9), [3, 32, 32], {}),
    "wide-resnet": (lambda: WideResNet(16, 2), [3, 32, 32], {"depth": 16, "width": 2}),
}
TORCHVISION = {
    "resnet18": [3, 64, 64],
    "resnet34": [3, 64, 64],
    "resnet50": [3, 70, 64],
    "wide_resnet50_2": [3, 64, 64],
    "vgg16_bn": [3, 64, 96],
    "mobilenet_v2": [3, 64, 70],
}


def run(model, name, shape, options):
    state = model.eval().state_dict()
    state = {n: values(n, list(t.shape)) for n, t in state.items() if "num_batches" not in n}
    model.load_state_dict(state, strict=False)
    inputs = uniform("input", SAMPLES * math.prod(shape)).astype(np.float32).reshape([SAMPLES, *shape])
    with torch.no_grad():
        logits = model(torch.from_numpy(inputs)).double().numpy()
    print(name, logits[0, :4])
    return {
        "shape": shape,
        "options": options,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tensors": len(state),
        "logits": [[float(f"{v:.7g}") for v in row] for row in logits],
    }


def main():
    path = os.path.join(HERE, "logits.json")
    found = json.load(open(path)) if os.path.exists(path) else {}
    for name, (build, shape, options) in MODELS.items():
        found[name] = run(build(), name, shape, options)
    try:
        from torchvision import models
    except ImportError:
        print("without torchvision its models keep their numbers")
        models = None
    for name, shape in TORCHVISION.items() if models else ():
        found[name] = run(getattr(models, name)(num_classes=CLASSES), name, shape, {})
    lines = [f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found)]
    with open(path, "w") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
