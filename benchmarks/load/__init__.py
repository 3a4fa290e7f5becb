"""What `operator_load.py` is made of: a cluster, clients of it, runs on it, and what is measured."""
