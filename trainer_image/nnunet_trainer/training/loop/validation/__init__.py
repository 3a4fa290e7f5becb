"""How good a fold is: the pseudo-Dice of patches after each epoch, whole images in between, the final validation."""
