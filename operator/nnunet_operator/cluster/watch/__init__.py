"""What the operator learns of the cluster: watches, comparisons, the pods' progress, and the cache that they fill."""
