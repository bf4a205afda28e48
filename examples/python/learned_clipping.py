"""Learned clipping (after Choi et al. 2018, arXiv 1805.06085, applied to weights): a uniform grid between -c and c whose
end c is trained by the gradients of the weights beyond it. It has a backward of its own, and a state, so that a killed
run continues to the same file.

options: rate, the learning rate of c relative to its size (default 0.01); start, its first value in standard deviations
(default 3).
"""

import ecqx
import numpy as np


class LearnedClipping(ecqx.Quantizer):
    def start(self, context):
        self.clip = {}
        self.latent = {}

    def quantize(self, name, weight, context):
        if name not in self.clip:
            self.clip[name] = context.options.get("start", 3) * float(weight.std()) or 1.0
        self.latent[name] = weight
        highest = 2 ** (context.bits - 1) - 1
        step = np.float32(self.clip[name] / max(highest, 1))
        return np.clip(np.rint(weight / step), -highest, highest), step

    def backward(self, name, gradient, context):
        weight, clip = self.latent[name], self.clip[name]
        beyond = np.abs(weight) >= clip
        # A clipped weight is c or -c: its gradient is that of c.
        slope = float((gradient[beyond] * np.sign(weight[beyond])).sum())
        change = context.options.get("rate", 0.01) * clip * np.tanh(slope)
        self.clip[name] = max(clip - change, 1e-3 * clip)
        return np.where(beyond, 0, gradient)

    def state(self):
        return {"clip": self.clip, **{f"latent {name}": weight for name, weight in self.latent.items()}}

    def restore(self, state):
        self.clip = state["clip"]
        names = [name for name in state if name.startswith("latent ")]
        self.latent = {name[len("latent ") :]: state[name] for name in names}


if __name__ == "__main__":
    ecqx.serve(LearnedClipping())
