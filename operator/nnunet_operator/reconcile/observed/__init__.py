"""What Jobs, pods, their progress and their reports tell."""
