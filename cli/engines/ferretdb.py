"""FerretDB: speaks MongoDB's wire protocol on top of PostgreSQL. A stand-in: tools/engines/README.md lists its gaps."""

from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from cli.engines import recipes
from cli.engines.engine import LOOPBACK, Engine


class FerretDB(Engine):
    """`postgres` is the DSN of a database of its own; each MongoDB database becomes a schema there."""

    recipe = recipes.FERRETDB
    # a command holds one connection per document that it has updated: with as many updates as connections it deadlocks
    # on itself
    connections = 100

    def __init__(self, folder: Path, *, postgres: str, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        parts = urlsplit(postgres)
        query = urlencode([*parse_qsl(parts.query), ("pool_max_conns", self.connections)])
        self._postgres = parts._replace(query=query).geturl()

    @property
    def url(self) -> str:
        return f"mongodb://{LOOPBACK}:{self.port}"

    def command(self, program: Path) -> list[str]:
        return [str(program / "ferretdb"), "-listen", f"{LOOPBACK}:{self.port}", "-postgres", self._postgres]

    def healthy(self) -> bool:
        client: MongoClient[dict[str, object]] = MongoClient(self.url, serverSelectionTimeoutMS=500)
        try:
            client.list_database_names()  # `hello` succeeds without the PostgreSQL behind it
        except PyMongoError:
            return False
        finally:
            client.close()
        return True
