# The API in one container: it migrates its database, then serves. See deploy/compose.yaml for both together.

FROM python:3.13-slim AS builder
WORKDIR /app
# pip stays outside: the running container has no use for it.
RUN python -m venv --without-pip /opt/venv
COPY requirements-server.txt ./
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes -r requirements-server.txt
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY alembic ./alembic
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-deps --no-build-isolation .

FROM python:3.13-slim
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PO_DATA_DIR=/data
# A number, so that Kubernetes can see that it is not root.
RUN groupadd --gid 10001 po-api \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin po-api \
    && install -d -o 10001 -g 10001 -m 700 /data
COPY --from=builder /opt/venv /opt/venv
COPY --chmod=755 deploy/entrypoint.sh /usr/local/bin/entrypoint
USER 10001:10001
EXPOSE 8000
# Migrations of a large database take their time before the API answers. No urllib.request: it would go by http_proxy.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m --start-interval=2s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; api = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); api.request('GET', '/health/live'); sys.exit(api.getresponse().status != 200)"]
ENTRYPOINT ["entrypoint"]
