"""The children as data: a Job, its work order, its Service. The same input gives the same bytes."""
