"""Recipes, all that a trainer is as data: read, checked, listed, and resolved by name."""
