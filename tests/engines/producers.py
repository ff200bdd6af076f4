"""Producers of the shop's other teams: they write to the broker directly and know nothing of Dapr or of us."""

import asyncio
import socket
from collections.abc import Mapping, Sequence

from cli.engines.cache import built
from cli.engines.kafka import Kafka
from cli.engines.needs import jdk
from cli.engines.redis import Redis


async def produce(broker: Redis | Kafka, topic: str, messages: Sequence[bytes], headers: Mapping[str, str]) -> None:
    """Publish the messages to the topic in order; Redis' streams have no headers."""
    if isinstance(broker, Redis):
        await asyncio.to_thread(_add_to_stream, broker, topic, messages)
    else:
        await _to_kafka(broker, topic, messages, headers)


def _add_to_stream(redis: Redis, topic: str, messages: Sequence[bytes]) -> None:
    host, port = redis.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for message in messages:
            words = [b"XADD", topic.encode(), b"*", b"data", message]  # the field that Dapr reads
            connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
            assert connection.recv(200).startswith(b"$")


async def messages_on(broker: Redis | Kafka, topic: str) -> int:
    """How many messages this topic has ever received."""
    if isinstance(broker, Redis):
        host, port = broker.address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"*2\r\n$4\r\nXLEN\r\n$%d\r\n%b\r\n" % (len(topic), topic.encode()))
            return int(connection.recv(200).strip().removeprefix(b":"))
    said = await _tool(broker, topic, "GetOffsetShell")
    return sum(int(line.rpartition(":")[2]) for line in said.splitlines() if line.startswith(f"{topic}:"))


async def _to_kafka(kafka: Kafka, topic: str, messages: Sequence[bytes], headers: Mapping[str, str]) -> None:
    """Publish with Kafka's own console producer: optional headers, key and value on a line, separated by tabs."""
    about = ",".join(f"{name}:{value}" for name, value in headers.items()).encode() + b"\t" if headers else b""
    lines = b"".join(b"%bkey-%d\t%b\n" % (about, number, message) for number, message in enumerate(messages))
    words = ["--property", "parse.key=true", "--sync"]
    words += ["--property", "parse.headers=true"] if headers else []
    await _tool(kafka, topic, "ConsoleProducer", *words, given=lines)


async def _tool(kafka: Kafka, topic: str, name: str, *words: str, given: bytes = b"") -> str:
    """The output of one of Kafka's own tools for this topic."""
    command = [str(jdk() / "bin" / "java"), "-cp", f"{built(Kafka.recipe) / 'lib'}/*", f"org.apache.kafka.tools.{name}"]
    command += ["--bootstrap-server", kafka.address, "--topic", topic, *words]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate(given)
    assert process.returncode == 0, said.decode()
    return said.decode()
