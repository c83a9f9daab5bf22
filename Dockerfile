# syntax=docker/dockerfile:1

# The program, with templates, static files, migrations and texts inside it.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin bellhop \
 && install -D target/release/bellhop /out/usr/local/bin/bellhop \
 && install -D -m 644 -t /out/usr/share/doc/bellhop LICENSE-MIT LICENSE-APACHE NOTICE \
 && mkdir /data

# The C library, and neither a shell nor a package manager; `nonroot` is user 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out /
COPY --from=build --chown=65532:65532 /data /data
# inside a container the loopback is nobody's; who may reach the port is said where it is published
ENV BELLHOP_LISTEN=0.0.0.0:8080 BELLHOP_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/bellhop", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/bellhop"]
