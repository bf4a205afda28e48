"""What a user's quantizer is made of."""

from dataclasses import dataclass, field
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np


class Codebook(NamedTuple):
    """Weights as positions in a list of values, which need not be evenly spaced.

    ``levels`` has the weight's shape and counts from 0; ``values`` is in any order.
    """

    levels: Any
    values: Any


@dataclass
class Context:
    """What a quantizer knows besides the weight it is asked about."""

    #: Bit width of this tensor; None where the experiment gives none.
    bits: Optional[int] = None
    #: The run's seed.
    seed: int = 0
    #: ``options`` of the experiment.
    options: Dict[str, Any] = field(default_factory=dict)
    #: Optimizer steps in the whole run; 0 is quantization after training.
    total_steps: int = 0
    #: Optimizer steps so far; 0 is the first assignment.
    step: int = 0
    #: Epoch, from 0.
    epoch: int = 0
    #: Shapes of all tensors of the run by name.
    shapes: Dict[str, Tuple[int, ...]] = field(default_factory=dict)
    #: All weights of this step by name.
    weights: Dict[str, np.ndarray] = field(default_factory=dict)
    #: Relevance of this weight, where the quantizer wants it; None before the first step of a training.
    relevance: Optional[np.ndarray] = None
    #: Calibration data of this layer, where the quantizer wants it and the harness has it.
    calibration: Optional[np.ndarray] = None


class Quantizer:
    """A quantization method: override :meth:`quantize`, and of the rest what the method needs."""

    #: Name that the harness writes into its log; the class's by default.
    name: Optional[str] = None
    #: Version, for the same.
    version: str = "1"
    #: What :attr:`Context.relevance` and :attr:`Context.calibration` shall hold: any of "relevance", "calibration".
    wants: Tuple[str, ...] = ()

    def start(self, context: Context) -> None:
        """Called once, before everything else."""

    def quantize(self, name: str, weight: np.ndarray, context: Context):
        """The quantized form of one float32 weight.

        Returns one of

        * ``(levels, step)``: whole numbers of the weight's shape, and a positive step, or one for each output channel;
        * a :class:`Codebook`: positions in a list of values;
        * values of the weight's shape.

        NumPy arrays, torch tensors and plain numbers all do. In a training it is asked after every optimizer step, with
        the latent (full-precision) weight.
        """
        raise NotImplementedError

    def backward(self, name: str, gradient: np.ndarray, context: Context):
        """The gradient for the latent weight, from the gradient with respect to the quantized values.

        Called for every tensor after a training step, before :meth:`quantize`. Without it gradients pass as they are
        (straight-through).
        """
        return gradient

    def state(self) -> Optional[Dict[str, Any]]:
        """What a killed run needs to continue: a dict of arrays, numbers, texts and lists of them; None for nothing."""
        return None

    def restore(self, state: Dict[str, Any]) -> None:
        """Takes what :meth:`state` gave. Called after :meth:`start`, before :meth:`quantize`."""
