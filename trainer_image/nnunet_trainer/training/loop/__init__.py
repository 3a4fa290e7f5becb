"""The training of one fold: epochs, iterations, the final validation."""
