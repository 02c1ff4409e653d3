"""Configuration: ``config.yaml`` checked against a schema, then overridden from the environment.

``SUPERRES_<SECTION>__<KEY>`` overrides a key, as in ``SUPERRES_PROCESSING__UPSCALE_FACTOR=4``. A
wrong key or value stops with its path, the value and what is allowed. Secrets have no place here.
"""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from superres.errors import ConfigError
from superres.imaging.limits import Limits
from superres.models import default_model_path
from superres.pipeline import storage

PREFIX = "SUPERRES_"
_UNKNOWN = ("extra_forbidden", "invalid_key")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def checked_location(value: str) -> str:
    """The path or URI; raises ``ValueError`` when it is neither."""
    scheme, separator, rest = value.partition("://")
    if not value.strip() or (separator and (scheme != "s3" or not rest.strip("/"))):
        raise ValueError("expected a local path or s3://bucket/prefix")
    return value


# A mistyped scheme (s3a://, S3://) would otherwise become a local folder of that name.
Location = Annotated[str, AfterValidator(checked_location)]


def _checked_web_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/\S*)?", value):
        raise ValueError("expected http://host/… or https://host/…")
    return value


WebUrl = Annotated[str, AfterValidator(_checked_web_url)]


def _checked_link(value: str) -> str:
    return value if re.fullmatch(r"/([^/\\\s]\S*)?", value) else _checked_web_url(value)


Link = Annotated[str, AfterValidator(_checked_link)]


class Dataset(_Section):
    """Where images lie: local folders or ``s3://`` URIs."""

    high_resolution_dir: Location = "data/high_resolution"
    low_resolution_dir: Location = "data/low_resolution"
    patches_dir: Location = "data/work"
    inference_result_dir: Location = "data/work"
    reconstructed_images_dir: Location = "data/results"


class Processing(_Section):
    """How images are super-resolved.

    ``patch_size`` is the side of a tile in low-resolution pixels, without its halo.
    ``model_path`` None means the weights that come with the package.
    """

    upscale_factor: Literal[2, 3, 4] = 2
    patch_size: int = Field(default=512, ge=16, le=2048)
    model_path: Location | None = None
    grayscale: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    half_precision: bool = False
    max_megapixels: float = Field(default=200.0, gt=0)
    max_megabytes: float = Field(default=512.0, gt=0)

    @model_validator(mode="after")
    def _half_precision_needs_a_gpu(self) -> Self:
        if self.half_precision and self.device == "cpu":
            raise ValueError("half_precision needs device: cuda")
        return self

    @property
    def limits(self) -> Limits:
        """What an input image may weigh and measure before it is decoded."""
        return Limits(int(self.max_megabytes * 2**20), int(self.max_megapixels * 1e6))

    def checkpoint(self, scale: int) -> str:
        """The checkpoint to use for a scale: a local path or an ``s3://`` URI.

        ``model_path`` is for ``upscale_factor`` alone, since a pickled checkpoint does not tell its
        scale; any other scale takes the weights that come with the package.
        """
        if self.model_path is not None and scale == self.upscale_factor:
            return self.model_path
        return str(default_model_path(scale))


class Ingestion(_Section):
    """How images come in.

    ``threads`` fetch at once in a producer or a consumer. ``allowed_hosts`` (``name`` or
    ``name:port``) may have private addresses, for tests; ``file_roots`` and ``s3_buckets`` are
    what references of the kinds ``file:`` and ``s3:`` may point into, beside ``uploads_dir``.
    """

    mode: Literal["evaluate", "upscale"] = "evaluate"
    threads: int = Field(default=8, ge=1, le=256)
    uploads_dir: Location = "data/uploads"
    file_roots: tuple[str, ...] = ()
    s3_buckets: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    picsum_url: str = "https://picsum.photos"
    fetch_seconds: float = Field(default=60.0, gt=0)
    attempts: int = Field(default=5, ge=1)
    drain_seconds: float = Field(default=20.0, gt=0, le=200)
    consumer_port: int = Field(default=9101, ge=0, le=65535)
    upload_host: str = "127.0.0.1"
    upload_port: int = Field(default=8081, ge=0, le=65535)


ClusterArn = Annotated[str, Field(pattern=r"^arn:[^:]+:kafka:[a-z0-9-]+:\d{12}:cluster/\S+$")]


class Kafka(_Section):
    """The broker and its topics; passwords come from the environment only.

    With ``cluster_arn``, the brokers are asked of Amazon MSK instead of ``bootstrap_servers``, and
    topics that are missing are made, with the number of partitions and replicas that the brokers
    are configured with: nobody else makes them there.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    cluster_arn: ClusterArn | None = None
    topic: str = "images-topic"
    dead_letter_topic: str = "images-topic-dead-letter"
    group: str = "superres-consumer"
    security: Literal["plaintext", "sasl_ssl", "iam"] = "plaintext"
    ca_file: str | None = None
    region: str | None = None
    session_seconds: float = Field(default=45.0, ge=6)


class Notifier(_Section):
    """The gallery, its interface and its webhooks.

    Tokens come from the environment only, and so should a ``database_url`` that holds a password.
    Each open page holds one of the ``threads``. ``proxies`` is how many reverse proxies
    stand before it, whose X-Forwarded headers are believed. ``allowed_hosts`` are webhook receivers
    that may have private addresses.
    """

    gallery_size: int = Field(default=10, ge=1, le=100)
    refresh_seconds: float = Field(default=90.0, ge=1)
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    threads: int = Field(default=160, ge=8, le=1000)
    database_url: str = "sqlite:///data/notifier/notifier.db"
    cache_dir: str = "data/notifier/cache"
    cache_megabytes: int = Field(default=1024, ge=16)
    public_gallery: bool = False
    public_url: WebUrl | None = None
    uploads_url: Link | None = None
    proxies: int = Field(default=0, ge=0, le=3)
    events_queue_url: str | None = None
    runs_queue_url: str | None = None
    rescan_seconds: float = Field(default=300.0, ge=1)
    allowed_hosts: tuple[str, ...] = ()
    webhook_seconds: float = Field(default=15.0, gt=0, le=60)
    webhook_retry_seconds: float = Field(default=5.0, gt=0)
    webhook_disable_days: float = Field(default=5.0, gt=0)


class Settings(_Section):
    """The whole configuration."""

    dataset: Dataset = Dataset()
    processing: Processing = Processing()
    ingestion: Ingestion = Ingestion()
    kafka: Kafka = Kafka()
    notifier: Notifier = Notifier()


def load_settings(uri: str | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads a YAML file (local or S3; None: all defaults) and applies the environment.

    Raises ``ConfigError`` with one line that names the key, the value and what is allowed.
    """
    content: Any = None
    if uri is not None:
        if not storage.is_s3(uri) and not Path(uri).is_file():
            raise ConfigError(f"{uri}: no such configuration file; give --config a YAML file")
        content = _parsed(storage.read_bytes(uri), uri)
    origin = uri or "configuration"
    if content is None:  # no file, or one of comments alone
        content = {}
    if not isinstance(content, dict):
        raise ConfigError(f"{origin}: holds no mapping; expected sections such as 'processing:'")
    overrides = {
        name: _parsed(text, name)
        for name, text in sorted(environment.items())
        if name.startswith(PREFIX) and "__" in name
    }
    return validated(_merged(content, overrides), origin, overrides)


def validated(content: Mapping[str, Any], origin: str, overrides: Collection[str] = ()) -> Settings:
    """Checks a mapping of sections; raises ``ConfigError`` naming ``origin`` and every wrong key.

    ``overrides`` names the environment variables that were merged in, to be named as well.
    """
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(_describe(dict(fault), overrides) for fault in error.errors())
        raise ConfigError(f"{origin}: {faults}") from None


def _describe(fault: dict[str, Any], overrides: Collection[str]) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    variable = PREFIX + path.replace(".", "__").upper()
    source = "".join(
        f" (from {name})"
        for name in overrides
        if name == variable or (fault["type"] in _UNKNOWN and name.startswith(f"{variable}__"))
    )
    section: Any = Settings
    if fault["type"] in _UNKNOWN:
        for part in fault["loc"][:-1]:
            section = section.model_fields[part].annotation
        return f"unknown key {path!r}{source}; allowed here: {', '.join(section.model_fields)}"
    if fault["type"] in ("model_type", "dict_type"):
        section = Settings.model_fields[fault["loc"][0]].annotation
        allowed = f"expected a section with keys among {', '.join(section.model_fields)}"
    else:
        allowed = fault["msg"].removeprefix("Value error, ")
        allowed = allowed[0].lower() + allowed[1:]
    return f"{path}{source}: {allowed}, got {fault['input']!r}"


def _parsed(text: str | bytes, origin: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, for one
        reason = " ".join(str(error).split())
        raise ConfigError(f"{origin}: not valid YAML ({reason}); see config.yaml's form") from error


def _merged(content: dict[Any, Any], overrides: Mapping[str, Any]) -> dict[Any, Any]:
    """The file's sections with ``SUPERRES_<SECTION>__<KEY>`` values put over them."""
    merged = {
        section: dict(keys) if isinstance(keys, dict) else keys for section, keys in content.items()
    }
    for name, value in overrides.items():
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        keys = merged.setdefault(section, {})
        if isinstance(keys, dict):
            keys[key] = value
    return merged
