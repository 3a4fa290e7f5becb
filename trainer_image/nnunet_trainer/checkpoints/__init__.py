"""Checkpoint files, ours and nnU-Net's: written, read, checked, and which network their weights are of."""
