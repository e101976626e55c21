# The image of the controller: a static binary beside git and an OpenSSH client, on Alpine.
#
#   docker build --target controller -t sluice .             with git: gitRevert works
#   docker build --target controller-scratch -t sluice .     nothing but the binary: no gitRevert
#
# Both run as user 65532 with a read-only root file system; the only place that is written is /tmp.

FROM docker.io/library/rust:1.92-alpine3.22 AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
# The caches are kept between builds by the builder and are no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package sluice --bin sluice \
    && install -D -m 0755 target/release/sluice /out/usr/local/bin/sluice \
    && mkdir -p -m 1777 /out/tmp

# Nothing but the binary.
FROM scratch AS controller-scratch
COPY --from=build /out/ /
USER 65532:65532
ENV TMPDIR=/tmp
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["controller"]

# With git: the one program that the controller executes. ssh is what git starts for ssh:// addresses.
FROM docker.io/library/alpine:3.22 AS controller
RUN apk add --no-cache git openssh-client-default ca-certificates-bundle \
    && adduser -D -H -u 65532 -s /sbin/nologin sluice
COPY --from=build /out/usr/local/bin/sluice /usr/local/bin/sluice
# The root file system is read-only: git finds no home, and looks for no configuration but ours.
ENV HOME=/tmp TMPDIR=/tmp GIT_CONFIG_NOSYSTEM=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["controller"]
