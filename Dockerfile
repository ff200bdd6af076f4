# One image for every program of services/topology.py; the command chooses which:
#   python -m services run delivery --role worker     depesche migrate     python -m services.simulator --data DIR
# The same Python that the tests run on. `embedded` is not installed: a container contains no Postgres.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
# only wheels, each by its hash, so no compiler is needed and nothing unreviewed is built
COPY image.lock requirements.lock ./
RUN python -m venv --without-pip /venv \
    && sed -n '/^setuptools==/,/^[^ ]/{/^setuptools==/p;/^    --hash/p}' requirements.lock > setuptools.lock \
    && pip install --no-cache-dir --require-hashes --only-binary :all: --no-deps -r setuptools.lock \
    && pip --python /venv/bin/python install --no-cache-dir --require-hashes --only-binary :all: --no-deps -r image.lock
COPY pyproject.toml README.md LICENSE ./
COPY libs libs
COPY services services
COPY cli cli
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
    && pip --python /venv/bin/python install --no-cache-dir --no-deps --no-index wheels/*.whl

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="Depesche" \
      org.opencontainers.image.description="Customer communication: every message decided, sent, and explained" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /venv /venv
# The root may be read-only: a program writes only scratch files to /tmp (mount a tmpfs there), and each container is
# one process, whose metrics stay in its memory. /etc/depesche holds the mounted files `secret` and depesche.toml;
# /var/lib/depesche is the simulator's volume.
RUN install --directory --owner 10001 --group 10001 /etc/depesche /var/lib/depesche
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    DEPESCHE_DATA_DIR=/etc/depesche \
    DEPESCHE_HOST=0.0.0.0 \
    DEPESCHE_PORT=8700
WORKDIR /tmp
USER 10001:10001
EXPOSE 8700
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "libs.ask_probe", "live"]
# without a command the container lists what it can run
CMD ["python", "-m", "services"]
