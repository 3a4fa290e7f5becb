"""What a pod's first process does around a step: serve its progress, start its ranks, forward signals, report its end."""
