"""Permissions: every call is evaluated against the policies that apply to it, as AWS does.

`patterns`, `conditions`, `policies` and `evaluation` are AWS's logic; `actions`, `s3_actions` and
`keys` say which permissions a call needs. None of these depends on LocalStack. `stores` reads
policies and resources from LocalStack, `principals` finds out who calls, `handler` does both for
each request, and `sessions` gives processes the credentials of a role.
"""
