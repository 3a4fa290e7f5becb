"""The processes of a training, one a device: the process group, and what they hand to each other."""
