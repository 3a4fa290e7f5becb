"""What a training leaves and goes on from: its checkpoints, and the files beside them."""
