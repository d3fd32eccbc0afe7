FROM python:3.11-slim AS builder
# Where pip looks for packages, if not where it usually does.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /venv
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
# Dependencies first: they change less often than the code.
RUN pip --python /venv/bin/python install --constraint constraints.txt '.[logger]'
COPY shared shared
COPY services/__init__.py services/
COPY services/logger services/logger
COPY deploy/docker/prune.py /prune.py
RUN pip --python /venv/bin/python install --no-deps --force-reinstall . \
    && python /prune.py /venv

FROM python:3.11-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Segue logger" \
    org.opencontainers.image.description="The event stream into Postgres, each event exactly once" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
COPY --from=builder /venv /venv
ENV PATH="/venv/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    SEGUE_LOGGER_HOST=0.0.0.0
USER 10001:10001
EXPOSE 5003
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s \
    CMD ["python", "-m", "shared.healthcheck", "http://127.0.0.1:5003/health/ready"]
CMD ["python", "-m", "services.logger"]
