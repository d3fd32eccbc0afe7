"""What can go wrong in a training for reasons of its input."""


class TrainingError(ValueError):
    """A training that cannot be done or published; the message says why."""
