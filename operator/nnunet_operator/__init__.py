"""The operator: decides what should run, in a cluster or on one machine."""
