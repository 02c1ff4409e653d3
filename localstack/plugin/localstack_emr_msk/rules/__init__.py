"""Rules of AWS that LocalStack does not check: a request that breaks one fails here, as on AWS.

``model`` holds every request against the constraints of AWS's API models; ``documented`` has the
quotas and rules that only AWS's documentation has, each with its page. ``handler`` adds both to
LocalStack. docs/aws-rules.md of the project lists them.
"""
