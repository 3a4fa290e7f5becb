"""This machine in the place of a cluster: Job controller, scheduler and node over the object store."""
