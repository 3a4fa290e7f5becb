"""Types of single fields: names, URIs and how they are reached, numbers that may be strings."""
