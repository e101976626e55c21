# The image of the controller: a static binary beside git, an OpenSSH client and GnuPG, on Debian.
#
#   docker build --target controller -t sluice .             with git: gitRevert works
#   docker build --target controller-scratch -t sluice .     nothing but the binary: no gitRevert
#
# Both run as user 65532 with a read-only root file system; the only place that is written is /tmp.

ARG RUST=1.95
ARG DEBIAN=trixie

FROM docker.io/library/rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /src
COPY . .
# Static, with glibc's own resolver: /etc/resolv.conf and /etc/hosts are all that it needs. The target is named so that the flags do
# not reach build scripts and macros. The caches are kept between builds by the builder and are no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS='-C target-feature=+crt-static' \
       cargo build --release --locked --package sluice --bin sluice --target "$target" \
    && install -D -m 0755 "target/$target/release/sluice" /out/usr/local/bin/sluice \
    && mkdir -p -m 1777 /out/tmp

# Nothing but the binary, and the public authorities that metrics servers may have their certificates from.
FROM scratch AS controller-scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /
USER 65532:65532
ENV TMPDIR=/tmp
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["controller"]

# With git: the one program that the controller executes. ssh is what git starts for ssh:// addresses, ssh-keygen and gpg for signatures.
FROM docker.io/library/debian:${DEBIAN}-slim AS controller
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends git openssh-client gpg gpg-agent ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt \
    && useradd --uid 65532 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sluice
COPY --from=build /out/usr/local/bin/sluice /usr/local/bin/sluice
# The root file system is read-only: git finds no home, and looks for no configuration but ours.
ENV HOME=/tmp TMPDIR=/tmp GIT_CONFIG_NOSYSTEM=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["controller"]
