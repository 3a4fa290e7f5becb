"""JSON of the contract: dataclasses to and from it, what a later version may add to them, and JSON that somebody else wrote."""
