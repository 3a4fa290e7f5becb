"""What both shells (cluster and local) do with one object: make its View, reconcile, carry out the Outcome, say its events."""
