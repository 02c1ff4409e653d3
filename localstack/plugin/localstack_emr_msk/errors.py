"""Errors that providers raise, with AWS's codes."""


class ServiceError(Exception):
    """A request that AWS would reject: its error code, message and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class SettingsError(Exception):
    """An environment variable of this plugin that is not valid; the message has the remedy."""


def invalid_request(message: str) -> ServiceError:
    """Returns EMR's modelled error, which operations that describe and list raise."""
    return ServiceError("InvalidRequestException", message)


def validation(message: str) -> ServiceError:
    """Returns EMR's error of operations that create and change; the API model does not list it."""
    return ServiceError("ValidationException", message)
