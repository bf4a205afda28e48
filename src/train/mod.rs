//! Optimizers, schedules, the training loop, the quantization-aware loop, metrics.
