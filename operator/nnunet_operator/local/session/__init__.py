"""One call that works: the reconcile loop over the object store, with the machine and the pods' progress."""
