# The digest is that of the image for all architectures. Dependabot moves it; it reads no ARG.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base

FROM base AS build
# The hash seed decides the order in which byte code holds the members of a set.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONHASHSEED=0
WORKDIR /src
# Neither environment holds a pip: the base image's own installs into them, from the locks, by hash.
RUN python3 -m venv --without-pip /opt/qsticky \
 && python3 -m venv --without-pip /opt/build
COPY requirements.txt requirements-build.txt ./
RUN python3 -m pip --python /opt/qsticky/bin/python3 install --no-compile --require-hashes -r requirements.txt \
 && python3 -m pip --python /opt/build/bin/python3 install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
# The time of every file that is added here. `make image` gives that of the last commit; otherwise it is 2020-02-02,
# the time that hatchling gives to the files of a wheel.
ARG SOURCE_DATE_EPOCH=1580601600
RUN python3 -m pip --python /opt/build/bin/python3 wheel --no-deps --no-build-isolation -w /tmp/wheel . \
 && python3 -m pip --python /opt/qsticky/bin/python3 install --no-compile --no-deps --no-index /tmp/wheel/*.whl
# The official Python images hold no byte code, not even of the standard library, and the user could not
# write any: without this, every health check would compile again what it imports. "unchecked-hash" keeps
# the times of the sources out of it.
ENV PYTHONPYCACHEPREFIX=/opt/qsticky/pycache
RUN /opt/qsticky/bin/python3 -B -P -c "import pkgutil, sys, exporter; \
      [__import__(m.name) for m in pkgutil.walk_packages(exporter.__path__, 'exporter.')]; \
      __import__('apprise').Apprise.instantiate('mailto://a:b@c.de'); \
      files = {getattr(m, '__file__', None) or '' for m in sys.modules.values()}; \
      print(*sorted(f for f in files if f.endswith('.py')), sep='\n')" > /tmp/imported \
 && /opt/qsticky/bin/python3 -B -m compileall -q --invalidation-mode unchecked-hash -i /tmp/imported /opt/qsticky/lib
# Any user may replace the status file, also after `user:` changed under an existing volume.
# The image that this one replaces was run by `python -m qsticky` or `python qsticky.py`, here in /app.
RUN mkdir -p /rootfs/opt /rootfs/app/health && chmod 0777 /rootfs/app/health \
 && mv /opt/qsticky /rootfs/opt/ \
 && ln -s /opt/qsticky/bin/qsticky /rootfs/app/qsticky.py \
 && find /rootfs -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# What a daemon never opens: installers, documentation and build parts of Python. The folders that it stood in get a fixed
# time, so that this layer stays the same from release to release and is not downloaded again with each.
FROM base AS pruned
RUN python3 -B -c "import glob, importlib.util, pathlib, shutil, sysconfig; \
      names = ('pip', 'ensurepip', 'idlelib', 'turtledemo', 'test', 'pydoc_data', 'tkinter'); \
      specs = [spec for name in names if (spec := importlib.util.find_spec(name))]; \
      folders = [folder for spec in specs for folder in spec.submodule_search_locations]; \
      scripts = [f for name in ('pip*', 'idle*', 'pydoc*', 'python*-config') \
                   for f in glob.glob(sysconfig.get_path('scripts') + '/' + name)]; \
      stdlib = sysconfig.get_path('stdlib'); \
      others = [*glob.glob(stdlib + '/config-*'), *glob.glob(sysconfig.get_path('include') + '*')]; \
      others += [f for folder in folders if folder.endswith('/pip') for f in glob.glob(folder + '-*')]; \
      [shutil.rmtree(f, ignore_errors=True) for f in [*folders, *others]]; \
      [pathlib.Path(f).unlink() for f in scripts]" \
 && { find / -xdev -mmin -60 -exec touch --no-dereference --date=@0 {} + 2> /dev/null || true; }

FROM scratch
COPY --from=pruned / /
ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="qSticky" \
      org.opencontainers.image.description="Keeps qBittorrent's listening port equal to the port that Gluetun's VPN forwards" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.url="https://github.com/qsticky/qsticky" \
      org.opencontainers.image.source="https://github.com/qsticky/qsticky" \
      org.opencontainers.image.documentation="https://github.com/qsticky/qsticky/blob/main/docs/README.md" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
ENV PATH=/opt/qsticky/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin \
    HEALTH_FILE=/app/health/status.json \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/qsticky/pycache
COPY --from=build /rootfs/ /
WORKDIR /app
USER 1000:1000
EXPOSE 9809
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["qsticky", "healthcheck"]
CMD ["qsticky"]
