"""What should be, as pure functions from View to Outcome."""
