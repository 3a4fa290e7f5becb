"""Overlap of predictions with the ground truth, and nnU-Net's summary.json of it."""

from .metrics import overlap
from .summary import read_summary, summarize, summary, write_summary

__all__ = ["overlap", "read_summary", "summarize", "summary", "write_summary"]
