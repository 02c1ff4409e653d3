"""Events for other services, by the Standard Webhooks specification."""
