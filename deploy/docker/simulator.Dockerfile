# The simulator and the analysis: makes the world, and runs the demonstration.
FROM python:3.11-slim AS builder
# Where pip looks for packages, if not where it usually does.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /venv
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
# Dependencies first: they change less often than the code.
RUN pip --python /venv/bin/python install --constraint constraints.txt '.[simulator,analysis]'
COPY shared shared
COPY simulator simulator
COPY analysis analysis
COPY deploy/*.py deploy/simulator.yaml deploy/
RUN pip --python /venv/bin/python install --no-deps --force-reinstall .

FROM python:3.11-slim
COPY --from=builder /venv /venv
# A new volume takes its owner from the folder that it covers.
RUN install --directory --owner 10001 --group 10001 /world
ENV PATH="/venv/bin:$PATH" PYTHONUNBUFFERED=1 HOME=/tmp
USER 10001:10001
# It runs a command and ends: there is no service to ask.
HEALTHCHECK NONE
CMD ["python", "-m", "simulator", "--help"]
