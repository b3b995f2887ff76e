# A hub in a container: docs/operations.md says how to run it. Its data, and the key that it makes, are in the volume /data.
FROM python:3.13-slim AS python

FROM python AS build
RUN python -m venv /opt/hookbot && install -d -m 700 /data
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/hookbot/bin/pip install --no-cache-dir --constraint constraints.txt '.[postgres]'

FROM python
COPY --from=build /opt/hookbot /opt/hookbot
# A new volume has the owner of the directory that it covers.
COPY --from=build --chown=65532:65532 /data /data
ENV PATH=/opt/hookbot/bin:$PATH HOOKBOT_DATA_DIR=/data
USER 65532:65532
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# Not urllib, which would ask the proxy in HTTP_PROXY. What the hub lacks is in the output, which `docker inspect` shows.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-c", "\
from http.client import HTTPConnection; \
hub = HTTPConnection('127.0.0.1', 8080); \
hub.request('GET', '/readyz'); \
answer = hub.getresponse(); \
exit(answer.status != 200 and answer.read().decode())"]
ENTRYPOINT ["hookbot"]
CMD ["serve"]
