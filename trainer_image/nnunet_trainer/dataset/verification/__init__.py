"""Every fault of a raw dataset at once, case by case, and the same in few lines."""
