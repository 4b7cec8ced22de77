ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Neither environment holds a pip: the base image's own installs into them, from the locks, by hash.
RUN python3 -m venv --without-pip /opt/qsticky \
 && python3 -m venv --without-pip /opt/build
COPY requirements.txt requirements-build.txt ./
RUN python3 -m pip --python /opt/qsticky/bin/python3 install --no-compile --require-hashes -r requirements.txt \
 && python3 -m pip --python /opt/build/bin/python3 install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN python3 -m pip --python /opt/build/bin/python3 wheel --no-deps --no-build-isolation -w /tmp/wheel . \
 && python3 -m pip --python /opt/qsticky/bin/python3 install --no-compile --no-deps --no-index /tmp/wheel/*.whl
# The official Python images hold no byte code, not even of the standard library, and our user could not
# write any: without this, every health check would compile again what it imports.
ENV PYTHONPYCACHEPREFIX=/opt/qsticky/pycache
RUN /opt/qsticky/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/qsticky/lib \
 && /opt/qsticky/bin/python3 -c "import pkgutil, exporter; \
      [__import__(m.name) for m in pkgutil.iter_modules(exporter.__path__, 'exporter.')]"
# Any user may replace the status file, also after `user:` changed under an existing volume.
RUN mkdir -p /rootfs/app/health && chmod 0777 /rootfs/app/health

FROM ${BASE}
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="qSticky" \
      org.opencontainers.image.description="Keeps qBittorrent's listening port equal to the port that Gluetun's VPN forwards" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/qsticky/bin:$PATH \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/qsticky/pycache
COPY --from=build /opt/qsticky /opt/qsticky
COPY --from=build /rootfs/ /
WORKDIR /app
USER 1000:1000
EXPOSE 9809
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["qsticky", "healthcheck"]
ENTRYPOINT ["qsticky"]
