# Images that run ffmpeg: --target transcoder, transcoder-gpu, or tonearm, which
# is everything in one process. BASE is Debian 13. Of its ffmpeg the images hold
# only the files that it loads; see rootfs.sh.
ARG BASE=debian:trixie-slim
FROM ${BASE} AS debian
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates ffmpeg && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
COPY rootfs.sh /
RUN sh /rootfs.sh /rootfs

FROM scratch AS ffmpeg
LABEL org.opencontainers.image.vendor="Tonearm"
COPY --from=debian /rootfs /
ENV PATH=/usr/bin HOME=/tmp
USER 65532:65532

FROM ffmpeg AS transcoder
ARG TARGETARCH
LABEL org.opencontainers.image.title="Tonearm transcoder" \
      org.opencontainers.image.description="Converts one file"
COPY ${TARGETARCH}/transcoder /usr/bin/transcoder
ENTRYPOINT ["/usr/bin/transcoder"]

# The NVIDIA container runtime reads these two variables and adds the driver's
# libraries. Debian's ffmpeg loads them when it has to use the GPU.
FROM transcoder AS transcoder-gpu
LABEL org.opencontainers.image.title="Tonearm transcoder for NVIDIA GPUs"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,video,utility

FROM ffmpeg AS tonearm
ARG TARGETARCH
LABEL org.opencontainers.image.title="Tonearm" \
      org.opencontainers.image.description="Everything in one process: tonearm up, and the command-line client"
COPY ${TARGETARCH}/tonearm ${TARGETARCH}/transcoder /usr/bin/
ENTRYPOINT ["/usr/bin/tonearm"]
