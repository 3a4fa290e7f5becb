"""Kubernetes objects in a folder, kept as an API server keeps them; and the files that people write them in."""
