# One image for all functions: FUNCTION_SOURCE and FUNCTION_TARGET choose the one that a container runs.
# The base by digest, so that a build is the same tomorrow; `docker pull python:3.13-slim` tells a newer one.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /app
COPY requirements.lock .
RUN pip install --no-cache-dir --no-deps --require-hashes --target /packages -r requirements.lock

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
ENV PYTHONPATH=/app:/packages PYTHONUNBUFFERED=1 PORT=8080 FUNCTION_TARGET=main WORKERS=1
WORKDIR /app
COPY --from=build /packages /packages
COPY alembic.ini ./
COPY migrations migrations
COPY terraform/functions.json terraform/functions.json
COPY common common
COPY functions functions
RUN python -m compileall -q /packages /app
USER nobody
CMD ["python", "-m", "functions_framework"]
