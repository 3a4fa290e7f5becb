"""The trainer: all steps of nnU-Net, from raw images to validated checkpoints."""
