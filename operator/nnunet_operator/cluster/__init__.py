"""The operator on a cluster: watches (`watch`) fill a `cache`, workers reconcile, one client (`api`) writes."""
