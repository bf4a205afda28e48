"""A ResNet-20 as somebody's quantizer leaves it: one safetensors file, made with Python's standard library alone.

    python3 quantized_resnet20.py BITS SEED OUT.safetensors

Convolutions have one step per output channel, `layer2.0.conv1` one per input channel, `layer3.2.conv2` a codebook of 16
values, `layer1.0.conv1` one step and no zero in use; `linear` stays in full precision.
"""

import array
import json
import random
import struct
import sys


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def shapes():
    yield "conv1.weight", [16, 3, 3, 3]
    width = 16
    for stage, planes in enumerate([16, 32, 64], 1):
        for block in range(3):
            yield f"layer{stage}.{block}.conv1.weight", [planes, width, 3, 3]
            yield f"layer{stage}.{block}.conv2.weight", [planes, planes, 3, 3]
            width = planes
    yield "linear.weight", [10, 64]


def quantized(name, shape, bits, rng):
    count = 1
    for dimension in shape:
        count *= dimension
    inner = count // shape[0]
    weights = [rng.gauss(0, inner**-0.5) for _ in range(count)]
    half = 2 ** (bits - 1)
    if name == "linear.weight":
        return [f32(w) for w in weights]
    if name == "layer3.2.conv2.weight":
        codebook = sorted(f32(rng.gauss(0, 0.05)) for _ in range(16))
        return [min(codebook, key=lambda value: abs(value - w)) for w in weights]
    if name == "layer1.0.conv1.weight":
        step = f32(inner**-0.5)
        return [step if w > 0 else -step for w in weights]
    per_input = name == "layer2.0.conv1.weight"
    channel = (lambda i: i // 9 % shape[1]) if per_input else (lambda i: i // inner)
    largest = {}
    for i, w in enumerate(weights):
        largest[channel(i)] = max(largest.get(channel(i), 0.0), abs(w))
    steps = {c: f32(most / (half - 1)) for c, most in largest.items()}
    level = lambda i, w: max(-half, min(half - 1, round(w / steps[channel(i)])))
    # The product of two f32 fits a double: rounded once, as in f32 arithmetic. A level of -0.3 gives -0.0, as in PyTorch.
    return [f32(level(i, w) * steps[channel(i)]) if round(w / steps[channel(i)]) else w * 0.0 for i, w in enumerate(weights)]


def main(bits, seed, path):
    rng = random.Random(seed)
    tensors = []
    for name, shape in shapes():
        tensors.append((name, shape, quantized(name, shape, bits, rng)))
        if name != "linear.weight":
            layer = name[: -len(".weight")].replace("conv", "bn")
            for part, value in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)]:
                tensors.append((f"{layer}.{part}", [shape[0]], [value] * shape[0]))
    tensors.append(("linear.bias", [10], [0.0] * 10))
    header, body = {}, b""
    for name, shape, values in tensors:
        data = array.array("f", values).tobytes()
        header["module." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
