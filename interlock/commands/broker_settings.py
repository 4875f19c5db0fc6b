"""What a local broker is told: one KRaft node on loopback, small enough for a laptop, quick to compact and rebalance."""

from pathlib import Path

LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c{1})%n%throwable{3}
rootLogger.level = warn
rootLogger.appenderRef.out.ref = OUT
"""

SETTINGS = """\
process.roles=broker,controller
node.id=1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
num.network.threads=2
num.io.threads=4
background.threads=2
num.partitions=1
auto.create.topics.enable=false
log.message.timestamp.type=LogAppendTime
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.io.buffer.size=131072
log.cleaner.backoff.ms=200
"""
"""Kafka's own buffer of the cleaner is 128 MiB, half of our heap. A killed broker may come back when its session is over."""

JVM = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


def write_settings(folder: Path, port: int, controller: int) -> Path:
    """Write a node's configuration into its folder and return the file of settings; ports are on 127.0.0.1."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    (folder / "log4j2.properties").write_text(LOG4J, "utf-8")
    of_this_node = (
        f"controller.quorum.voters=1@127.0.0.1:{controller}",
        f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
        f"log.dirs={_escaped(folder / 'data')}",
    )
    file = folder / "server.properties"
    file.write_text(SETTINGS + "\n".join(of_this_node) + "\n", "utf-8")
    return file


def read_port(folder: Path) -> int | None:
    """Return the port that a folder's broker was last told to listen on, None if there was none."""
    try:
        lines = (folder / "server.properties").read_text("utf-8").splitlines()
    except OSError:
        return None
    advertised = [line.rpartition(":")[2] for line in lines if line.startswith("advertised.listeners=")]
    return int(advertised[0]) if advertised else None


def java_command(java: Path, jars: Path, folder: Path) -> list[str]:
    """Return the command of a JVM that has Kafka's jars and keeps its files within a folder."""
    options = (
        *JVM,
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-XX:ErrorFile={folder / 'jvm-error.log'}",
        f"-Dkafka.logs.dir={folder}",
        f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
    )
    return [str(java), *options, "-cp", f"{jars}/*"]


def _escaped(path: Path) -> str:
    r"""Return a path as a Java properties file has it: UTF-16 code units as `\uXXXX` where they are not plain."""
    plain = {unit: chr(unit) for unit in range(32, 127) if chr(unit) != "\\"}
    text = str(path).encode("utf-16-be")
    units = (int.from_bytes(text[i : i + 2], "big") for i in range(0, len(text), 2))
    return "".join(plain.get(unit, f"\\u{unit:04x}") for unit in units)
