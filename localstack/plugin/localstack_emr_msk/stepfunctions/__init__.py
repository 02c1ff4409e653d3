"""Step Functions' optimized integration with EMR (``arn:aws:states:::elasticmapreduce:…``).

LocalStack's free interpreter does not support the resource. ``actions`` defines each action by its
calls to EMR; ``task`` is the interpreter's state that runs them, and ``register`` adds it.
"""
