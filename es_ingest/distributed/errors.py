"""What can go wrong with the machines that share the work."""


class EngineError(Exception):
    """Ray is missing, its cluster cannot be had or used, or it lost work for good.

    :param message: What is wrong and how to mend it.
    """
