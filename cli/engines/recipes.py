"""The engines, their versions, and how each is built. The table is at the bottom."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GoProgram:
    """One program from the Go module in `tools/engines/<name>`; go.sum has the checksums."""

    package: str = "."
    tags: str = ""
    version_variable: str = ""  # the variable in the program with its version

    origin = "Go modules"


@dataclass(frozen=True, slots=True)
class Jars:
    """The dependencies of `tools/engines/<name>/pom.xml` in `lib/`; jars.sha256 has their checksums."""

    main: str = ""  # our own class, compiled into `classes/`, if the project's own is unsuitable

    origin = "Maven"


@dataclass(frozen=True, slots=True)
class SystemProgram:
    """A program of the operating system, linked into the folder."""

    debian_package: str  # contains the program, but no service that would be started
    program: str  # its path in that package

    origin = "Debian"


@dataclass(frozen=True, slots=True)
class DebianSource:
    """A C program that is too old in the system's packages: compiled from the source package of a newer Debian, unless
    the one on the PATH is new enough."""

    suite: str
    package: str
    archive: str
    sha256: str
    headers: tuple[str, ...]  # Debian packages needed to compile it
    oldest: str  # minimum version

    origin = "Debian's sources"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One engine. `product` is the file that must exist, relative to its folder."""

    name: str
    version: str
    product: str
    how: GoProgram | Jars | SystemProgram | DebianSource


DAPRD = Recipe("daprd", "1.18.2", "daprd", GoProgram(version_variable="github.com/dapr/dapr/pkg/buildinfo.version"))
KAFKA = Recipe("kafka", "4.1.1", "lib", Jars())
OPENSEARCH = Recipe("opensearch", "3.8.0", "lib", Jars(main="OpenSearch"))
JAEGER = Recipe(
    "jaeger",
    "1.62.0",
    "jaeger",
    GoProgram(package="tool", version_variable="github.com/jaegertracing/jaeger/pkg/version.latestVersion"),
)
FERRETDB = Recipe("ferretdb", "1.24.2", "ferretdb", GoProgram(tags="ferretdb_no_sqlite"))
# Debian 12 has 7.0. The package of that name would also start a server on 6379; redis-tools contains the same program,
# which is a server when called redis-server.
REDIS = Recipe("redis", "7.0", "redis-server", SystemProgram("redis-tools", "/usr/bin/redis-check-rdb"))
# Debian 12 has 1.18, which does not support prepared statements in transaction mode.
PGBOUNCER = Recipe(
    "pgbouncer",
    "1.24.1",
    "pgbouncer",
    DebianSource(
        suite="trixie",
        package="pgbouncer",
        archive="pgbouncer_1.24.1.orig.tar.gz",
        sha256="da72a3aba13072876d055a3e58dd4aba4a5de4ed6148e73033185245598fd3e0",
        headers=("libevent-dev",),
        oldest="1.21",
    ),
)

# the slowest come last, so that a missing tool is noticed early
RECIPES: tuple[Recipe, ...] = (REDIS, PGBOUNCER, KAFKA, OPENSEARCH, FERRETDB, JAEGER, DAPRD)
