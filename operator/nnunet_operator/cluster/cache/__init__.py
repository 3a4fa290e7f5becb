"""What the operator knows of the cluster, in memory: the newest version of each object, and the last state of what is gone."""
