"""Step Functions' optimized integration with EMR (``arn:aws:states:::elasticmapreduce:…``).

LocalStack's free interpreter knows the resource only as unsupported. ``actions`` says what each
action takes and does, in terms of a client of EMR; ``task`` is the state of the interpreter, and
``register`` puts it there.
"""
