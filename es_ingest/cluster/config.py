"""Prepare the data folder of a local server and write the server's settings into it."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from es_ingest.cluster.errors import FolderError, OptionError
from es_ingest.cluster.folders import ServerUser, make_folder
from es_ingest.cluster.state import Layout

FIX = "choose another folder with --data, or set ES_INGEST_HOME"
Setting = str | int | bool

# One size-bounded log file. The distribution's own file also writes JSON, deprecation and audit logs.
LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:es.logs.base_path}${sys:file.separator}server.log
appender.file.filePattern = ${sys:es.logs.base_path}${sys:file.separator}server-%i.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] [%node_name]%marker %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 16MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
logger.deprecation.name = org.elasticsearch.deprecation
logger.deprecation.level = error
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


def check_heap(heap: str) -> str:
    """Return the heap size in the form the JVM takes.

    :param heap: such as ``512m`` or ``2g``.
    :raises OptionError: if it is not a size.
    """
    if not re.fullmatch(r"[1-9]\d*[mMgG]", heap):
        raise OptionError(f"{heap!r} is not a heap size; write it like 512m or 2g", value=heap)
    return heap.lower()


def check_ours(layout: Layout) -> None:
    """Refuse a folder that holds something else: files of ours would be lost among it, or it among ours.

    :param layout: the data folder, which need not exist.
    :raises FolderError: if it is neither empty nor a data folder.
    """
    try:
        if layout.marker.exists() or not layout.root.is_dir():
            return
        strangers = sorted(path.name for path in layout.root.iterdir() if path != layout.lock)
    except OSError as error:
        raise FolderError(f"cannot look into {layout.root}: {error.strerror}; {FIX}", path=layout.root) from error
    if strangers:
        message = f"{layout.root} is no data folder of ours: it holds {', '.join(strangers[:3])}; {FIX}"
        raise FolderError(message, path=layout.root)


def prepare(layout: Layout, version: str, user: ServerUser | None) -> None:
    """Make the data folder ready for a server of this version; what it stores is kept.

    :param layout: the data folder.
    :param version: the version about to run.
    :param user: who the server runs as.
    :raises FolderError: if the folder cannot be written, holds something else, or was written by a newer server.
    """
    root = layout.root
    check_ours(layout)
    make_folder(root, user, fix=FIX)
    try:
        last = layout.marker.read_text(encoding="ascii").strip() if layout.marker.exists() else ""
        if _number(last) > _number(version):
            message = (
                f"{root} was written by Elasticsearch {last}, which {version} cannot read; "
                f"install a JDK that runs {last}, or {FIX}"
            )
            raise FolderError(message, path=root)
        note_version(layout, last)
        # Settings and scratch space are written anew each time, so nothing left there can do harm.
        for folder in (layout.config, layout.temporary):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (layout.config, layout.temporary, layout.indices, layout.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        for leftover in (layout.ports, layout.console):
            leftover.unlink(missing_ok=True)
        layout.console.touch(0o644)
        if user:
            for folder in (layout.temporary, layout.indices, layout.logs):
                give_to(user, folder)
    except OSError as error:
        raise FolderError(f"cannot prepare {root}: {error}; {FIX}", path=root) from error


def note_version(layout: Layout, version: str) -> None:
    """Note which version has written the data; an older one will not be started on it.

    :param layout: the data folder.
    :param version: empty as long as none has.
    """
    layout.marker.write_text(f"{version}\n", encoding="ascii")
    layout.marker.chmod(0o644)


def settings_for(layout: Layout, port: str) -> dict[str, Setting]:
    """Return the server's settings: one node, on loopback only, for this machine's use.

    :param layout: the data folder.
    :param port: HTTP port, a range such as ``9200-9300``, or 0 for any free port.
    """
    return {
        "cluster.name": "medte",
        "node.name": "medte",
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",
        "http.port": port,
        "transport.port": "0",
        "node.portsfile": True,
        "path.data": str(layout.indices),
        "path.logs": str(layout.logs),
        # A laptop's nearly full disk must not make indices read-only; writing still fails once it is full.
        "cluster.routing.allocation.disk.threshold_enabled": False,
        "xpack.security.enabled": False,
    }


def write_config(
    layout: Layout, distribution: Path, heap: str, settings: Mapping[str, Setting], user: ServerUser | None
) -> None:
    """Write the configuration folder: the distribution's own with our settings, log and heap.

    :param layout: the data folder, prepared.
    :param distribution: the unpacked server.
    :param heap: such as 1g; the smallest and the largest heap are the same, as Elasticsearch wants it.
    :param settings: of elasticsearch.yml.
    :param user: who the server runs as.
    :raises FolderError: if it cannot be written.
    """
    options = (
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-Xlog:disable",
        "-Xlog:all=warning:stderr:utctime,level,tags",
        "-XX:-HeapDumpOnOutOfMemoryError",
        f"-XX:ErrorFile={layout.logs}/hs_err_pid%p.log",
    )
    try:
        shutil.copytree(distribution / "config", layout.config, dirs_exist_ok=True)
        layout.config.chmod(0o700)  # copytree gave it the mode of the original
        # A JSON value is a YAML value.
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items()]
        (layout.config / "elasticsearch.yml").write_text("".join(lines), encoding="utf-8")
        (layout.config / "log4j2.properties").write_text(LOG4J, encoding="ascii")
        extra = layout.config / "jvm.options.d"
        extra.mkdir(exist_ok=True)
        (extra / "medte.options").write_text("\n".join(options) + "\n", encoding="utf-8")
        if user:
            give_to(user, layout.config)
    except OSError as error:
        raise FolderError(f"cannot write {layout.config}: {error}; {FIX}", path=layout.config) from error


def server_environment(layout: Layout, java_home: Path) -> dict[str, str]:
    """Return the server's whole environment.

    Nothing else is handed on: neither secrets such as ES_API_KEY, nor JVM options such as ES_JAVA_OPTS or
    JAVA_TOOL_OPTIONS, which would contradict ours.
    """
    passed = ("PATH", "LANG", "LC_ALL", "TZ", "HOSTNAME")
    environment = {name: os.environ[name] for name in passed if name in os.environ} | {
        "HOME": str(layout.temporary),
        "ES_JAVA_HOME": str(java_home),
        "ES_PATH_CONF": str(layout.config),
        "ES_TMPDIR": str(layout.temporary),
    }
    if not any(character.isspace() for character in str(layout.temporary)):
        # The launcher leaves a file in its temporary folder at each start; its script splits options at blanks.
        environment["CLI_JAVA_OPTS"] = f"-Djava.io.tmpdir={layout.temporary}"
    return environment


def give_to(user: ServerUser, folder: Path) -> None:
    """Make a user the owner of a folder and of all in it; links are not followed."""
    for path, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(Path(path) / name, user.uid, user.gid, follow_symlinks=False)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
