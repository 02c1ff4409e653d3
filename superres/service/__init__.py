"""Shared by the services: HTTP server and client, errors, security headers, health, tokens, logs."""
