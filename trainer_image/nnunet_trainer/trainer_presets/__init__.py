"""nnU-Net's trainers by name, as data: the trainer each is based on, what it changes (as in a recipe file), what it is for."""
