"""What a recipe says and its author can hardly mean."""

from __future__ import annotations

from .recipe import Recipe


def warnings_of(recipe: Recipe) -> list[str]:
    """A sentence for each such thing."""
    found = []
    if recipe.warm_up_epochs >= recipe.epochs:
        found.append(
            f"The learning rate rises for {recipe.warm_up_epochs} epochs, and there are {recipe.epochs}: "
            "the training ends before its schedule begins (recipe.warmUpEpochs)."
        )
    until = recipe.freezing.until_epoch
    if recipe.freezing.patterns and until is not None and until >= recipe.epochs:
        found.append(
            f"{', '.join(recipe.freezing.patterns)} are frozen until epoch {until}, and there are {recipe.epochs}: "
            "they never train (recipe.freezing.untilEpoch)."
        )
    return found
