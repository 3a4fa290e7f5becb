"""The door between the operator and the trainer: work order in, report and progress out.

Nothing here imports more than the standard library (`yaml_text`: PyYAML too), and the operator imports nothing else of the
trainer.
"""

CONTRACT_VERSION = 1
"""Bumped when a work order or a report changes so that the other side must know. A trainer refuses orders of another version."""
