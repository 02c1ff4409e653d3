"""Shared by the services: HTTP server and client, problem responses, health, tokens, logs."""
