"""Round to nearest with one step for each output channel: the simplest method that is not a straw man.

options: clip, the share of the largest magnitude that the grid covers (default 1).
"""

import ecqx
import numpy as np


class RoundToNearest(ecqx.Quantizer):
    def quantize(self, name, weight, context):
        highest = 2 ** (context.bits - 1) - 1
        rows = weight.reshape(len(weight), -1)
        largest = np.abs(rows).max(axis=1) * context.options.get("clip", 1)
        # A channel of zeros has levels of zero whatever its step is.
        step = np.where(largest > 0, largest / highest, 1).astype(np.float32)
        levels = np.clip(np.rint(rows / step[:, None]), -highest - 1, highest)
        return levels.reshape(weight.shape), step


if __name__ == "__main__":
    ecqx.serve(RoundToNearest())
