"""The planners: from a fingerprint to patch, batch and network of each configuration."""
