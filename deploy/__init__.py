"""Deploys a checkout to AWS, runs it there, shows its state and destroys it.

``python -m deploy --help`` lists the commands, and ``make help`` the targets that call them. It
is not part of the wheel: it needs the checkout, Terraform and AWS credentials.
"""
