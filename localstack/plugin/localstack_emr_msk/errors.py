"""Errors that a provider answers with, as AWS would."""


class ServiceError(Exception):
    """A request that AWS would refuse: AWS's code, a message, and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class SettingsError(Exception):
    """An environment variable of this plugin that cannot be used; the message names the remedy."""


def invalid_request(message: str) -> ServiceError:
    """EMR's modelled error: the operations that describe and list answer with it."""
    return ServiceError("InvalidRequestException", message)


def validation(message: str) -> ServiceError:
    """EMR's error of the operations that begin and change things; no API model lists it."""
    return ServiceError("ValidationException", message)
