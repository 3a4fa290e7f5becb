"""What a training minimizes, and how: the loss over all outputs, groups of parameters, their optimizer, the precision of a step."""
