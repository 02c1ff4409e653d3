"""The configuration: its sections, their keys and what each may be; config_file.py reads it.

Secrets are not part of it: they come from the environment (environment.py).
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from superres.imaging.limits import Limits
from superres.models import CLEAN, default_model_path


class _Section(BaseModel):
    # Strict: true is no number and "8" is none, so that a slip is not taken for something else.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


def _checked_list(value: Any) -> Any:
    if isinstance(value, list):  # as YAML has it
        return tuple(value)
    if isinstance(value, tuple):
        return value
    raise ValueError("expected a list, as in [a, b]")


Texts = Annotated[tuple[str, ...], BeforeValidator(_checked_list)]


def checked_location(value: str) -> str:
    """Returns a local path or S3 URI unchanged; raises ``ValueError`` for anything else."""
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
    """Locations of images, tables and results: local folders or ``s3://`` URIs."""

    high_resolution_dir: Location = "data/high_resolution"
    low_resolution_dir: Location = "data/low_resolution"
    patches_dir: Location = "data/work"
    inference_result_dir: Location = "data/work"
    reconstructed_images_dir: Location = "data/results"


def _checked_restore(value: Any) -> Any:
    if value is False:  # what YAML makes of off
        return "off"
    if value in ("auto", "off") or (type(value) is int and 1 <= value <= 100):
        return value
    raise ValueError("expected auto, off or a quality from 1 to 100")


Restore = Annotated[Literal["auto", "off"] | int, BeforeValidator(_checked_restore)]
"""``auto``, ``off``, or the quality of JPEG that every image is taken to have."""


class Processing(_Section):
    """How images are upscaled.

    ``half_precision`` means float16 on GPUs and bfloat16 on CPUs, which must all have it; ``auto``:
    bfloat16 if the machine that drives the run has it. ``patch_size`` is the side of a tile in
    low-resolution pixels, without its halo. ``model_path`` None means the weights that are part of
    the package: those for clean input, or those for JPEG that ``restore`` chooses. ``auto``: by the
    quality that each JPEG was saved with; ``off``: for clean input; 1 to 100: as if every image
    had been saved as JPEG at this quality. With ``model_path`` it has no effect. A job that needs
    GPUs fails when it has had no executor with one for ``gpu_wait_seconds``; 0: it waits for ever.
    In a job, an image one step of which (decoding it, upscaling a tile) takes longer than
    ``stall_seconds``, twice, is rejected; so is one that takes more than ``memory_mib`` by itself,
    which the Python processes of an executor have together. None: what its machine or container
    offers.
    """

    upscale_factor: Literal[2, 3, 4] = 2
    patch_size: int = Field(default=512, ge=16, le=2048)
    model_path: Location | None = None
    restore: Restore = "auto"
    grayscale: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    half_precision: bool | Literal["auto"] = False
    gpu_wait_seconds: float = Field(default=1800.0, ge=0)
    stall_seconds: float = Field(default=300.0, gt=0)
    memory_mib: int | None = Field(default=None, ge=256)
    max_megapixels: float = Field(default=200.0, gt=0)
    max_megabytes: float = Field(default=512.0, gt=0)

    @property
    def limits(self) -> Limits:
        """The largest input image, in bytes and pixels."""
        return Limits(int(self.max_megabytes * 2**20), int(self.max_megapixels * 1e6))

    def own_model(self, scale: int) -> str | None:
        """``model_path``, a local path or an ``s3://`` URI, if it is for this scale.

        It is for ``upscale_factor`` only, since a pickled checkpoint does not contain its scale;
        other scales use the weights that are part of the package.
        """
        return self.model_path if scale == self.upscale_factor else None

    def checkpoint(self, scale: int, network: str = CLEAN) -> str:
        """The file with the weights for a scale, and for a network unless there is a model."""
        return self.own_model(scale) or str(default_model_path(scale, network))

    def checkpoint_name(self, scale: int, network: str = CLEAN) -> str:
        """The file name of ``checkpoint``."""
        return self.checkpoint(scale, network).rsplit("/", 1)[-1]

    @property
    def cpu_decides_on_precision(self) -> bool:
        """Whether the precision is known only when a run starts, from the CPU that drives it."""
        return self.half_precision == "auto" and self.device == "cpu"


class Evaluate(_Section):
    """How mode ``evaluate`` measures.

    With ``jpeg_quality``, low resolution goes through JPEG at this quality before it is upscaled,
    as most photographs of the world did.
    """

    jpeg_quality: int | None = Field(default=None, ge=1, le=100)


class Ingestion(_Section):
    """How images are fetched and stored.

    A producer or a consumer fetches with ``threads`` at once. ``allowed_hosts`` (``name`` or
    ``name:port``) may have private addresses, for tests. References with ``file:`` and ``s3:`` URLs
    may only point into ``file_roots``, ``s3_buckets`` and ``uploads_dir``. ``upload_proxies`` is
    the number of reverse proxies in front of the uploads, whose X-Forwarded-For is trusted.
    """

    mode: Literal["evaluate", "upscale"] = "evaluate"
    threads: int = Field(default=8, ge=1, le=256)
    uploads_dir: Location = "data/uploads"
    file_roots: Texts = ()
    s3_buckets: Texts = ()
    allowed_hosts: Texts = ()
    picsum_url: str = "https://picsum.photos"
    fetch_seconds: float = Field(default=60.0, gt=0)
    attempts: int = Field(default=5, ge=1)
    drain_seconds: float = Field(default=20.0, gt=0, le=200)
    consumer_port: int = Field(default=9101, ge=0, le=65535)
    upload_host: str = "127.0.0.1"
    upload_port: int = Field(default=8081, ge=0, le=65535)
    upload_proxies: int = Field(default=0, ge=0, le=3)


QueueUrl = Annotated[str, AfterValidator(_checked_web_url)]
StateMachineArn = Annotated[
    str, Field(pattern=r"^arn:[^:]+:states:[a-z0-9-]+:\d{12}:stateMachine:[\w-]+$")
]


class Starts(_Section):
    """How new images start runs: from a queue with S3's events to executions of a state machine."""

    queue_url: QueueUrl | None = None
    state_machine_arn: StateMachineArn | None = None
    port: int = Field(default=9102, ge=0, le=65535)


ClusterArn = Annotated[str, Field(pattern=r"^arn:[^:]+:kafka:[a-z0-9-]+:\d{12}:cluster/\S+$")]


class Kafka(_Section):
    """Kafka's brokers and topics; passwords come from the environment only.

    With ``cluster_arn``, Amazon MSK is asked for the brokers and ``bootstrap_servers`` is ignored.
    Missing topics are then created, with the brokers' default partitions and replicas. A dead
    letter has no query and no password of a URL, unless ``dead_letters_keep_urls``. Without
    ``enabled`` there is no broker: ``superres ingest`` and ``superres uploads`` store the images
    themselves.
    """

    enabled: bool = True
    bootstrap_servers: str = "127.0.0.1:9092"
    cluster_arn: ClusterArn | None = None
    topic: str = "images-topic"
    dead_letter_topic: str = "images-topic-dead-letter"
    dead_letters_keep_urls: bool = False
    group: str = "superres-consumer"
    security: Literal["plaintext", "sasl_ssl", "iam"] = "plaintext"
    ca_file: str | None = None
    region: str | None = None
    session_seconds: float = Field(default=45.0, ge=6)


class Notifier(_Section):
    """The gallery, the REST API and the webhooks.

    Tokens come from the environment only, and so should a ``database_url`` with a password. Each
    open page occupies one of the ``threads``. ``proxies`` is the number of reverse proxies in
    front, whose X-Forwarded headers are trusted. ``allowed_hosts`` are webhook receivers that may
    have private addresses.
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
    allowed_hosts: Texts = ()
    webhook_seconds: float = Field(default=15.0, gt=0, le=60)
    webhook_retry_seconds: float = Field(default=5.0, gt=0)
    webhook_disable_days: float = Field(default=5.0, gt=0)


class Settings(_Section):
    """The whole configuration."""

    dataset: Dataset = Dataset()
    processing: Processing = Processing()
    evaluate: Evaluate = Evaluate()
    ingestion: Ingestion = Ingestion()
    starts: Starts = Starts()
    kafka: Kafka = Kafka()
    notifier: Notifier = Notifier()
