"""Build images from the recipes of this project."""

from __future__ import annotations

import hashlib
import io
import math
import re
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.core.names import LABEL_INPUTS, image_build_params
from para_server.core.untrusted import one_line
from para_server.engine import images
from para_server.engine.client import SLOW_FACTOR, Engine
from para_server.engine.exec_command import Stopper
from para_server.engine.images import Image

if TYPE_CHECKING:
    from docker import APIClient

_LAST_LINES: Final = 5
_ESCAPE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>])"
)
_ENGINE_LINES: Final = ("Step ", " ---> ", "Removing intermediate container ")
_ID_LINES: Final = re.compile(  # lines of the engine that only name intermediate images
    r" ---> (?:[0-9a-f]+|Running in [0-9a-f]+|Removed intermediate container [0-9a-f]+)\s*$"
    r"|Removing intermediate container "
)
_CERTIFICATE_ERROR: Final = re.compile(
    r"certificate (?:verif|is not trusted|signed by unknown)|self[-_ ]signed[-_ ]cert"
    r"|unable[ _]to[ _](?:get|verify)[ _](?:local[ _]issuer|the[ _]first|leaf[ _]signature)"
    r"|CERTIFICATE_VERIFY_FAILED|x509: ",
    re.IGNORECASE,
)
_CA_NAME: Final = "ca-bundle.crt"

ProgressCallback = Callable[[str, int | None], None]


class Recipe(Model):
    """The inputs of an image's build: folder of the Dockerfile, build arguments and labels.

    `offline` disables the network for builds that run programs of a foreign base image.
    """

    image: str
    folder: Path
    arguments: dict[str, str]
    offline: bool = False
    labels: dict[str, str] = Field(default_factory=dict)


def recipe_folder(*path: str) -> Path:
    """Return the folder of a Dockerfile: in the installed package, or in the source tree."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_images"
    return (installed if installed.is_dir() else package.parent / "images").joinpath(*path)


def digest_inputs(recipe: Recipe) -> str:
    """Return the digest of an image's inputs, which shows whether a built image is stale."""
    digest = hashlib.sha256()
    for file in sorted(recipe.folder.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(repr(sorted(recipe.arguments.items())).encode())
    return digest.hexdigest()


async def build_image(
    engine: Engine,
    recipe: Recipe,
    ca_bundle: Path | None,
    report_progress: ProgressCallback,
    *,
    no_cache: bool,
) -> Image:
    """Build an image and return it; a cancellation stops the build in the engine too.

    Raises engine.build-failed with the last lines of the build's output.
    """
    context = _pack_context(recipe.folder, ca_bundle)
    labels = {LABEL_INPUTS: digest_inputs(recipe), **recipe.labels}
    stopper = Stopper()

    def request(api: APIClient) -> None:
        with stopper.closing(api):
            responses = api.build(
                fileobj=context,
                custom_context=True,
                tag=recipe.image,
                decode=True,
                rm=True,
                forcerm=True,
                nocache=no_cache,
                buildargs=dict(recipe.arguments),
                labels=labels,
                network_mode="none" if recipe.offline else None,
                timeout=math.ceil(engine.settings.timeout * SLOW_FACTOR),
            )
            _read_progress(responses, recipe.image, report_progress)

    await engine.call_long_running(request, stopper.stop)
    image = await images.find(engine, recipe.image)
    if image is None:
        raise _build_error(recipe.image, "the engine does not list it after the build")
    return image


def _read_progress(responses: Any, image: str, report_progress: ProgressCallback) -> None:
    last: list[str] = []
    untrusted = False
    percentage: int | None = None
    for response in responses:
        if "error" in response:
            raise _build_error(image, one_line(str(response["error"])), last, untrusted=untrusted)
        for line in _ESCAPE.sub("", str(response.get("stream", ""))).splitlines():
            if not line.strip():
                continue
            untrusted = untrusted or _CERTIFICATE_ERROR.search(line) is not None
            if not line.startswith(_ENGINE_LINES):
                last = [*last[1 - _LAST_LINES :], one_line(line)]
            percentage = _percentage(line) if line.startswith("Step ") else percentage
            if not _ID_LINES.match(line):
                report_progress(one_line(line), percentage)


def _percentage(line: str) -> int | None:
    done, _, total = line.removeprefix("Step ").partition(" ")[0].partition("/")
    if done.isdigit() and total.isdigit():
        return 100 * (int(done) - 1) // int(total)
    return None


def _build_error(
    image: str, message: str, last: Sequence[str] = (), *, untrusted: bool = False
) -> ParaError:
    details = "\n".join([message, *last])
    params = image_build_params(image)
    title = "Set the CA certificates of your network's proxy, here or in SSL_CERT_FILE"
    set_bundle = (Remedy(title=title, setting="container.caBundle"),) if untrusted else ()
    return ParaError(
        "engine.build-failed",
        f"The image {image} could not be built: {details}",
        *set_bundle,
        Remedy(title="Build again", command="para.image.build", params=params),
        Remedy(
            title="Rebuild every layer",
            command="para.image.build",
            params={**params, "noCache": True},
        ),
    )


def _pack_context(folder: Path, ca_bundle: Path | None) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in sorted(folder.iterdir()):
            _add_file(archive, file.name, file.read_bytes())
        if ca_bundle is not None:
            _add_file(archive, _CA_NAME, ca_bundle.read_bytes())
    packed.seek(0)
    return packed


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # without times and owners, the same files result in the same layers
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(content))
