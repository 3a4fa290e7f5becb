"""The transforms, each over a whole batch at once."""
