"""The process protocol of ``method: external``: one JSON object a line, tensors in safetensors files."""

import json
import os
import sys
from dataclasses import replace

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ._quantizer import Codebook, Context, Quantizer

PROTOCOL = 1


def serve(quantizer: Quantizer) -> None:
    """Answers the harness until it says goodbye. An exception ends the process; its traceback is in the run's log."""
    # What the quantizer prints belongs into the log: the harness reads answers from a copy of standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    served = _Served(quantizer)
    for line in sys.stdin:
        message = json.loads(line)
        answer = served.answer(message)
        if answer is None:
            return
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class _Served:
    def __init__(self, quantizer):
        self.quantizer = quantizer
        self.context = Context()
        self.bits = {}
        # Sent once.
        self.calibration = {}
        self.is_warned = False

    def answer(self, message):
        kind = message["type"]
        if kind == "bye":
            return None
        reply = getattr(self, "_" + kind, None)
        if reply is None:
            raise ValueError(f"unknown message of type {kind!r}: is this ecqx newer than the Python package?")
        return reply(message) or {"type": "done"}

    def _hello(self, message):
        if message["protocol"] != PROTOCOL:
            raise ValueError(f"the harness speaks protocol {message['protocol']}, this package {PROTOCOL}")
        tensors = message["tensors"]
        self.bits = {tensor["name"]: tensor["bits"] for tensor in tensors if "bits" in tensor}
        self.context = Context(
            bits=message["bits"],
            seed=message["seed"],
            options=message["options"],
            total_steps=message["total_steps"],
            shapes={tensor["name"]: tuple(tensor["shape"]) for tensor in tensors},
        )
        self.quantizer.start(self.context)
        self.known = set(vars(self.quantizer))
        wants = list(self.quantizer.wants)
        if type(self.quantizer).backward is not Quantizer.backward:
            wants.append("backward")
        name = self.quantizer.name or type(self.quantizer).__name__
        version = str(self.quantizer.version)
        return {"type": "hello", "protocol": PROTOCOL, "name": name, "version": version, "wants": wants}

    def _of(self, name, relevance=None):
        return replace(
            self.context,
            bits=self.bits.get(name, self.context.bits),
            relevance=None if relevance is None else relevance[name],
            calibration=self.calibration.get(name),
        )

    def _quantize(self, message):
        weights = load_file(message["weights"])
        relevance = load_file(message["relevance"]) if "relevance" in message else None
        if "calibration" in message:
            self.calibration = load_file(message["calibration"])
        self.context = replace(self.context, step=message["step"], epoch=message["epoch"], weights=weights)
        output = {}
        # The file's order is its own; the run's is that of the layers.
        for name in self.context.shapes:
            found = self.quantizer.quantize(name, weights[name], self._of(name, relevance))
            output.update(_tensors(name, weights[name], found))
        _save(output, message["output"])

    def _backward(self, message):
        gradients = load_file(message["gradients"])
        output = {}
        for name in self.context.shapes:
            if name in gradients:
                found = self.quantizer.backward(name, gradients[name], self._of(name))
                output[name] = _shaped(name, _array(found, np.float32), gradients[name])
        _save(output, message["output"])

    def _state(self, message):
        state = self.quantizer.state()
        if state is None:
            kept = sorted(set(vars(self.quantizer)) - self.known)
            if kept and not self.is_warned:
                self.is_warned = True
                print(f"{', '.join(kept)} set while quantizing, and no state(): a killed run will not continue the same")
            return
        arrays = {name: _array(value) for name, value in state.items() if hasattr(value, "shape")}
        rest = {name: value for name, value in state.items() if name not in arrays}
        save_file(arrays, message["output"], metadata={"rest": json.dumps(rest)})

    def _restore(self, message):
        with safe_open(message["input"], framework="numpy") as file:
            state = json.loads((file.metadata() or {}).get("rest", "{}"))
            state.update({name: file.get_tensor(name) for name in file.keys()})
        self.quantizer.restore(state)


_KINDS = {"float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64"}


def _save(tensors, path):
    """A safetensors file over the one of the step before: new pages would cost several times the copying."""
    header, start = {}, 0
    for name, array in tensors.items():
        span = [start, start + array.nbytes]
        header[name] = {"dtype": _KINDS[array.dtype.name], "shape": list(array.shape), "data_offsets": span}
        start = span[1]
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for array in tensors.values():
            file.write(array.tobytes() if array.size == 0 else array.data)
        file.truncate()


def _array(value, dtype=None):
    """A contiguous array of what may be a torch tensor."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.ascontiguousarray(value, dtype=dtype)


def _shaped(name, found, like):
    if found.shape != like.shape:
        raise ValueError(f"{name}: expected shape {like.shape}, found {found.shape}")
    return found


def _tensors(name, weight, found):
    """What the harness reads, from what ``quantize`` returned."""
    if isinstance(found, Codebook):
        levels = _shaped(name, _array(found.levels, np.int64), weight)
        levels, values = _signed(name, levels, _array(found.values, np.float32).ravel())
        return {f"{name}.levels": levels, f"{name}.codebook": values}
    if isinstance(found, tuple):
        levels, step = found
        rounded = np.rint(_array(levels, np.float64))
        levels = _shaped(name, rounded.astype(np.int32), weight)
        return {f"{name}.levels": levels, f"{name}.step": _array(step, np.float32).ravel()}
    return {name: _shaped(name, _array(found, np.float32), weight)}


def _signed(name, levels, values):
    """Levels as the harness counts them: values ascend, and level 0 is the value 0."""
    if levels.size and not (0 <= levels.min() and levels.max() < len(values)):
        raise ValueError(f"{name}: levels must be positions in a codebook of {len(values)} values")
    ascending, places = np.unique(np.append(values, np.float32(0)), return_inverse=True)
    zero = int(np.searchsorted(ascending, 0))
    return (places.ravel()[levels] - zero).astype(np.int32), ascending
