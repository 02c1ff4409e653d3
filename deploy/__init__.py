"""From a checkout to AWS and back: package, deploy, submit, look, destroy.

``python -m deploy --help`` lists the commands, and ``make help`` the targets that call them. It
is no part of the wheel: it needs the checkout, Terraform and the credentials of whoever runs it.
"""
