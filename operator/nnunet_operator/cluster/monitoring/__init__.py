"""What the operator says of itself: probes, metrics, logs."""
