"""One file a scenario: its docstring is its line, `run(cluster)` does it and returns what it saw, or raises."""

ALL = (
    "install",
    "waiting",
    "quickstart",
    "plugins",
    "distributed",
    "gpus",
    "shared_memory",
    "eviction",
    "out_of_memory",
    "node_loss",
    "upgrade",
    "uninstall",
)
"""In this order: the later ones train on the quickstart's plans."""

TRAINING = frozenset(("distributed", "gpus", "shared_memory", "eviction", "out_of_memory", "node_loss", "upgrade", "uninstall"))
"""What needs the quickstart's plans."""

SMOKE = ("install", "chain")
"""Images, chart and node fit, and a chain goes through."""
