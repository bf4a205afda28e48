"""Quantizers in Python for the ecqx benchmark harness.

A quantizer is a class with one method, served to the harness by one call::

    import ecqx
    import numpy as np

    class Nearest(ecqx.Quantizer):
        def quantize(self, name, weight, context):
            step = np.abs(weight).max() / (2 ** (context.bits - 1) - 1)
            return np.round(weight / step), step

    ecqx.serve(Nearest())

and named in an experiment: ``{method: external, command: [python3, nearest.py], bits: [2, 4]}``.
"""

from ._quantizer import Codebook, Context, Quantizer
from ._serve import serve

__all__ = ["Codebook", "Context", "Quantizer", "serve"]
__version__ = "0.1.0"
