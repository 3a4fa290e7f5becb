"""Attempts of a training and their store: checkpoints are uploaded beside the training, found again, and outages waited for."""
