FROM python:3.13-slim AS base

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/venv/bin:$PATH


FROM base AS build

WORKDIR /app
RUN python -m venv /opt/venv
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --only-binary :all: \
        --require-hashes --requirement requirements.txt
COPY pyproject.toml ./
COPY migrations migrations
COPY events events
COPY projections projections
COPY service service
# Editable: the program stays in /app. What installed it is not needed to run it.
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable . \
    && python -m compileall -q /app \
    && pip uninstall --yes setuptools pip


FROM base

RUN useradd --system --uid 10001 --no-create-home --home-dir /data agent-spy \
    && install --directory --owner agent-spy --group agent-spy /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app

ENV HOST=0.0.0.0 \
    PORT=8000 \
    DATABASE_URL=sqlite+aiosqlite:////data/agentspy.db
# agent-spy, as a number: so a host that knows no such name can tell that it is not root.
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/ready', timeout=4)"]
ENTRYPOINT ["agent-spy"]
CMD ["serve", "--migrate"]
