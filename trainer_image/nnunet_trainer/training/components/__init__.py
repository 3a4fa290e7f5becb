"""What a recipe names: losses, optimizers, schedules, and the registries in which they are found."""
