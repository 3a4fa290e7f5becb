"""Datasets, networks, ranks and whole trainings, small enough for tests."""
