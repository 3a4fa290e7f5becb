"""One file each, named after the field of the spec that it serves."""
