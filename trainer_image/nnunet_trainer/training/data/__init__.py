"""What a training step sees: which patch of which case, and how it is read, kept and augmented."""
