//! Architectures (one file each), the registry, checkpoints.
