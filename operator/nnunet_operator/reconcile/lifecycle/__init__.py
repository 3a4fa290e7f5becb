"""How one piece of work goes on, whichever it is, and when its Jobs are made and deleted."""
