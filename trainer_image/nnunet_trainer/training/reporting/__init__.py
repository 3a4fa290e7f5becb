"""What people see of a training: log, curves, progress, signs of trouble."""
