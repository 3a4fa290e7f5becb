"""A transform on rows of a batch, by numbers that a test gives in place of drawn ones."""

from nnunet_trainer.training.data.augmentation.functional import apply
from nnunet_trainer.training.data.augmentation.transforms.intensity import Context
from nnunet_trainer.training.data.augmentation.upload import uploaded


def applied(transform, rows, drawn, keys=(), dummy_2d=False):
    """Rows (k, *spatial), transformed; `drawn` as of `transform.draw`, of each row."""
    numbers = transform.numbers(drawn, Context(keys, tuple(rows.shape[1:]), dummy_2d))
    return apply(transform, rows, uploaded(numbers, rows.device))
