"""Writes the checkpoints of this folder's tests with PyTorch: python make.py

Every file of `checkpoints/` is the network of given/plain.pt in another form. `expected/` holds the float values that
PyTorch itself gives for forms that are not exact; files without one must equal plain.pt.
"""

import argparse
import collections
import copy
import gzip
import os
import pickle
import shutil
import warnings

import numpy as np
import torch
import torch.nn.utils.prune
from torch import nn
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
os.chdir(os.path.dirname(os.path.abspath(__file__)))
for folder in ("checkpoints", "expected"):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 10)


plain = torch.load("given/plain.pt")
net = Net()
net.load_state_dict(plain)
net.eval()
state = net.state_dict()
old = {"_use_new_zipfile_serialization": False}


def floats(d):
    out = {}
    for k, v in d.items():
        v = v.detach()
        v = v.dequantize() if v.is_quantized else v
        if not k.endswith("num_batches_tracked"):
            out[k] = v.to(torch.float32).contiguous().clone()
    return out


def expect(name, d):
    save_file(floats(d), f"expected/{name}.safetensors")


def write(name, obj, values=None, **options):
    torch.save(obj, f"checkpoints/{name}", **options)
    if values is not None:
        expect(name, values)


def to(dtype):
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


# Element types.
write("bf16.pt", to(torch.bfloat16), to(torch.bfloat16))
write("half_legacy.pt", to(torch.float16), to(torch.float16), **old)
write("double_protocol5.pt", to(torch.float64), pickle_protocol=5)
for kind in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"):
    write(f"{kind}.pt", to(getattr(torch, kind)), to(getattr(torch, kind)))
save_file(to(torch.bfloat16), "checkpoints/bf16.safetensors")
expect("bf16.safetensors", to(torch.bfloat16))
save_file(to(torch.float8_e5m2), "checkpoints/float8_e5m2.safetensors")
expect("float8_e5m2.safetensors", to(torch.float8_e5m2))
extra = {"mask": torch.tensor([True, False]), "a": torch.tensor([-128, 127], dtype=torch.int8)}
extra["b"] = torch.tensor([65535, 0], dtype=torch.uint16)
extra["c"] = torch.tensor([4_000_000_000], dtype=torch.uint32)
extra["d"] = torch.tensor([-32768], dtype=torch.int16)
extra["e"] = torch.tensor([255], dtype=torch.uint8)
write("integers.pt", {**state, **extra})
write("integers_legacy.pt", {**state, "mask": extra["mask"], "a": extra["a"], "d": extra["d"]}, **old)
write("complex.pt", {**state, "z": torch.ones(2, dtype=torch.complex64)})
write("sparse.pt", {**state, "fc.weight": state["fc.weight"].to_sparse()})

# Quantized tensors.
q = dict(state)
q["fc.weight"] = torch.quantize_per_tensor(state["fc.weight"], 0.01, 3, torch.quint8)
write("quint8.pt", q, q)
scales = torch.linspace(0.005, 0.02, 10, dtype=torch.float64)
q["fc.weight"] = torch.quantize_per_channel(state["fc.weight"], scales, torch.arange(10), 0, torch.qint8)
write("qint8_channels.pt", q, q)
q["fc.weight"] = torch.quantize_per_tensor(state["fc.weight"], 1e-6, 0, torch.qint32)
write("qint32_legacy.pt", q, q, **old)
packed = {k: v for k, v in state.items() if not k.startswith("fc.")}
weight = torch.quantize_per_tensor(state["fc.weight"], 0.01, 0, torch.qint8)
packed["fc.scale"], packed["fc.zero_point"] = torch.tensor(1.0), torch.tensor(0)
packed["fc._packed_params.dtype"] = torch.qint8
packed["fc._packed_params._packed_params"] = (weight, state["fc.bias"])
write("packed_linear.pt", packed, {**state, "fc.weight": weight})

# Pickles and archives.
write("protocol3.pt", state, pickle_protocol=3)
write("protocol4_legacy.pt", state, pickle_protocol=4, **old)
write("protocol5_legacy.pt", state, pickle_protocol=5, **old)
for length in range(1, 40, 6):
    write("n" * length + ".pt", state)
    os.rename("checkpoints/" + "n" * length + ".pt", f"checkpoints/stem_{length}.pt")
arrays = {k: v.numpy() for k, v in state.items()}
pickle.dump(arrays, open("checkpoints/numpy.pkl", "wb"))
pickle.dump(arrays, open("checkpoints/numpy_protocol2.pkl", "wb"), protocol=2)
pickle.dump({k: np.asfortranarray(v) for k, v in arrays.items()}, open("checkpoints/numpy_protocol5.pkl", "wb"), protocol=5)
write("numpy_in_torch.pt", arrays)

# Storage.
tied = collections.OrderedDict(state)
tied["fc.weight"] = state["fc.weight"].t().contiguous().t()
tied["conv1.weight"] = state["conv1.weight"].contiguous(memory_format=torch.channels_last)
write("strided.pt", tied)
flat = torch.cat([v.flatten() for v in state.values() if v.is_floating_point()])
shared, at = collections.OrderedDict(), 0
for k, v in state.items():
    shared[k] = v
    if v.is_floating_point():
        shared[k] = flat[at : at + v.numel()].view(v.shape)
        at += v.numel()
write("one_storage.pt", shared)
write("one_storage_legacy.pt", shared, **old)
broadcast = {**state, "bn1.weight": torch.ones(1).expand(4)}
write("broadcast.pt", broadcast, broadcast)
write("parameters.pt", {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in state.items()})
tagged = {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in state.items()}
for v in tagged.values():
    v.tag = "mine"
write("tagged_parameters.pt", tagged)

# Around the state dict.
optimizer = torch.optim.Adam(net.parameters())
for p in net.parameters():
    p.grad = torch.ones_like(p)
optimizer.step()
net.load_state_dict(plain)
beside = {"epoch": 3, "best": np.float64(91.2), "optimizer": optimizer.state_dict(), "tags": {"a", "b"}}
beside |= {"raw": b"\x00\xff", "args": argparse.Namespace(lr=0.1, layers=[1, 2]), "losses": [0.5, 0.25]}
write("training.pth.tar", {"state_dict": {"module." + k: v for k, v in state.items()}, **beside})
write("training_protocol4.pth", {"model": state, **beside}, pickle_protocol=4)
write("training_legacy.pth", {"model": state, **beside}, **old)
write("rng_beside.pt", {"model": state, "cpu_state": torch.zeros(8, dtype=torch.uint8), "loss": torch.tensor(0.5)})
write("nested_twice.pt", {"checkpoint": {"model": {"state_dict": state}}, "epoch": 1})
write("ema.pt", {"state_dict": state, "state_dict_ema": {k: v * 0 for k, v in state.items()}})
write("two_networks.pt", {"generator": state, "discriminator": {"w": torch.ones(2, 2)}})
write("module_beside.pt", {"ema": state, "model": net})
write("list.pt", list(state.values()))
write("tensor.pt", torch.ones(3, 3))
torch.jit.script(nn.Linear(2, 2)).save("checkpoints/script.pt")
for name, prefix in [("net", "net."), ("model_module", "model.module."), ("compiled_ddp", "_orig_mod.module.")]:
    write(f"prefix_{name}.pt", {prefix + k: v for k, v in state.items()})
write("compiled_inside.pt", {k.replace("conv1.", "conv1._orig_mod."): v for k, v in state.items()})
write("collision.pt", {**state, "module.fc.weight": state["fc.weight"] * 0})
write("other_names.pt", {k.replace("fc.", "linear."): v for k, v in state.items()})
write("backbone.pt", {"backbone." + k: v for k, v in state.items()})

# Parametrizations.
kept = {k: v for k, v in state.items() if k != "fc.weight"}


def parametrized(name, change, attribute="fc"):
    changed = copy.deepcopy(net)
    change(getattr(changed, attribute))
    changed.eval()
    # Hooks of the old kind compute the weight in the forward pass.
    getattr(changed, attribute)(torch.zeros((1, 3, 3, 3) if attribute == "conv1" else (1, 4)))
    write(name, changed.state_dict(), {**state, f"{attribute}.weight": getattr(changed, attribute).weight})


parametrized("weight_norm_new.pt", nn.utils.parametrizations.weight_norm, "conv1")
parametrized("weight_norm_columns.pt", lambda m: nn.utils.weight_norm(m, dim=1))
parametrized("weight_norm_whole.pt", lambda m: nn.utils.weight_norm(m, dim=None))
parametrized("spectral_norm.pt", nn.utils.spectral_norm, "conv1")
parametrized("spectral_norm_new.pt", nn.utils.parametrizations.spectral_norm)
parametrized("pruned_rows.pt", lambda m: nn.utils.prune.ln_structured(m, "weight", 0.3, 2, 0))
orthogonal = copy.deepcopy(net)
nn.utils.parametrizations.orthogonal(orthogonal.fc)
write("orthogonal.pt", orthogonal.state_dict())
qat = {**state, "fc.weight_fake_quant.scale": torch.tensor([0.1])}
qat["fc.weight_fake_quant.fake_quant_enabled"] = torch.tensor([1], dtype=torch.uint8)
write("quantization_aware.pt", qat)

# Other kinds, other names.
save_file({k: v.contiguous() for k, v in state.items()}, "checkpoints/named_wrongly.pt")
shutil.copy("given/plain.pt", "checkpoints/named_wrongly.safetensors")
shutil.copy("given/plain.pt", "checkpoints/UPPER.PT")
np.savez("checkpoints/arrays.npz", **arrays)
gzip.GzipFile("checkpoints/gzipped.pt", "wb", mtime=0).write(open("given/plain.pt", "rb").read())
open("checkpoints/page.pt", "w").write("<!DOCTYPE html><html>404</html>")
open("checkpoints/pointer.safetensors", "w").write("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
open("checkpoints/empty.pt", "wb").close()

# What PyTorch gives for the files that were there.
for name in ("half", "double", "quantized_tensor"):
    expect(f"{name}.pt", torch.load(f"given/{name}.pt"))
expect("half.safetensors", torch.load("given/half.pt"))
pruned = torch.load("given/pruned.pt")
expect("pruned.pt", {**plain, "conv1.weight": pruned["conv1.weight_orig"] * pruned["conv1.weight_mask"]})
normed = torch.load("given/weight_norm.pt")
weight = torch._weight_norm(normed["conv1.weight_v"], normed["conv1.weight_g"], 0)
expect("weight_norm.pt", {**plain, "conv1.weight": weight})
