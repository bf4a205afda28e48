"""Adaptive rounding (after Nagel et al. 2020, arXiv 2004.10568): every weight is rounded up or down so that the layer's
output changes least, which is not always towards the nearest level.

The layer's inputs enter through their second-moment matrix H (`calibration: hessian`): the error of a row of weights is
e H e'. Decisions are flipped one at a time, each the one that lowers the error most, until none does. Without
calibration data H is the identity, and the result is rounding to the nearest level.

options: passes, how often each row is gone through at most (default 20).
"""

import ecqx
import numpy as np


class AdaptiveRounding(ecqx.Quantizer):
    wants = ("calibration",)

    def quantize(self, name, weight, context):
        lowest, highest = -(2 ** (context.bits - 1)), 2 ** (context.bits - 1) - 1
        rows = weight.reshape(len(weight), -1).astype(np.float64)
        step = np.float32(np.abs(rows).max() / highest if rows.any() else 1)
        levels = np.clip(np.rint(rows / step), lowest, highest)
        moments = self.moments(context.calibration, rows.shape[1])
        if moments is not None:
            self.flip(rows, levels, float(step), moments, lowest, highest, context.options.get("passes", 20))
        return levels.reshape(weight.shape), step

    @staticmethod
    def moments(calibration, inputs):
        """The second-moment matrix of a layer's inputs; None where there is none of its size."""
        if calibration is None:
            return None
        if calibration.ndim == 2 and calibration.shape == (inputs, inputs):
            return calibration.astype(np.float64)
        samples = calibration.reshape(len(calibration), -1).astype(np.float64)
        return samples.T @ samples / len(samples) if samples.shape[1] == inputs else None

    @staticmethod
    def flip(rows, levels, step, moments, lowest, highest, passes):
        error = levels * step - rows
        slope = error @ moments
        diagonal = np.diag(moments)
        every = np.arange(len(rows))
        for _ in range(passes * rows.shape[1]):
            # The other neighbour of a weight lies on the other side of it.
            change = np.where(error > 0, -step, step)
            other = levels + np.sign(change)
            gain = 2 * change * slope + change**2 * diagonal
            gain[(other < lowest) | (other > highest) | (np.abs(error + change) >= step)] = np.inf
            best = gain.argmin(axis=1)
            better = gain[every, best] < -1e-12
            if not better.any():
                return
            at, by = every[better], best[better]
            moved = change[at, by]
            levels[at, by] = other[at, by]
            error[at, by] += moved
            slope[at] += moved[:, None] * moments[by]


if __name__ == "__main__":
    ecqx.serve(AdaptiveRounding())
