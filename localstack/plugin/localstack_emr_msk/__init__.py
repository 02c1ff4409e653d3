"""EMR, MSK and Step Functions' EMR tasks for LocalStack in host mode.

``plugins`` is what LocalStack loads; ``service`` stands between LocalStack and the providers, which
know nothing of it: ``emr.provider`` and ``msk.provider`` take requests and give answers as the API
models of botocore describe them.
"""
