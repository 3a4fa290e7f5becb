"""The steps of a work order: each module has `carry_out(order, listener) -> Report`."""
