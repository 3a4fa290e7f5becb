"""What people write: the four kinds as pydantic models, conditions, reasons. `crds/*.yaml` is generated from here."""
