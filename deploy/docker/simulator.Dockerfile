# The simulator, which also makes the world; with EXTRAS=simulator,analysis it runs the demonstration.
FROM python:3.11-slim AS builder
# Where pip looks for packages, if not where it usually does.
ARG PIP_INDEX_URL
ARG EXTRAS=simulator
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /venv
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
# Dependencies first: they change less often than the code.
RUN pip --python /venv/bin/python install --constraint constraints.txt ".[$EXTRAS]"
COPY shared shared
COPY simulator simulator
COPY analysis analysis
COPY deploy/*.py deploy/simulator.yaml deploy/
COPY deploy/docker/prune.py /prune.py
RUN pip --python /venv/bin/python install --no-deps --force-reinstall . \
    && python /prune.py /venv

FROM python:3.11-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Segue simulator" \
    org.opencontainers.image.description="Worlds and listeners: episodes over HTTP or in process" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
COPY --from=builder /venv /venv
# A new volume takes its owner from the folder that it covers.
RUN install --directory --owner 10001 --group 10001 /world
ENV PATH="/venv/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
STOPSIGNAL SIGTERM
# It runs a command and ends: there is no service to ask.
HEALTHCHECK NONE
CMD ["python", "-m", "simulator", "--help"]
