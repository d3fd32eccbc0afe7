FROM python:3.11-slim AS builder
# Where pip looks for packages, if not where it usually does.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /venv
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
# Dependencies first: they change less often than the code.
RUN pip --python /venv/bin/python install --constraint constraints.txt '.[recommender]'
COPY shared shared
COPY services/__init__.py services/
COPY services/recommender services/recommender
COPY deploy/docker/prune.py /prune.py
RUN pip --python /venv/bin/python install --no-deps --force-reinstall . \
    && python /prune.py /venv

FROM python:3.11-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Segue recommender" \
    org.opencontainers.image.description="The next track: experiments, sessions, an event per request" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
COPY --from=builder /venv /venv
ENV PATH="/venv/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    SEGUE_RECOMMENDER_HOST=0.0.0.0
# A new volume takes its owner from the folder that it covers.
RUN install --directory --owner 10001 --group 10001 /spool
USER 10001:10001
EXPOSE 5001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s \
    CMD ["python", "-m", "shared.healthcheck", "http://127.0.0.1:5001/health/ready"]
CMD ["python", "-m", "services.recommender"]
