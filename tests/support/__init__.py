"""Real parts for the tests: a control plane, a node, an operator process."""
