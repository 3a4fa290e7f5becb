"""Batches made ahead of the training, in its own process or in worker processes that hand them over in shared memory."""
