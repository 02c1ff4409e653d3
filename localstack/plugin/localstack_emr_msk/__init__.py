"""EMR, MSK and Step Functions' EMR tasks for LocalStack in host mode.

``plugins`` is what LocalStack loads; ``service`` connects LocalStack to the providers, which do not
depend on it: ``emr.provider`` and ``msk.provider`` take requests and return responses as botocore's
API models describe them.
"""
