# The transcoder for class gpu. Its sound comes from the same static ffmpeg as in
# the other images. A static program cannot load NVIDIA's driver, so Debian's
# ffmpeg decodes the frames. BASE is Debian 13. The image holds only the files
# that this ffmpeg loads; see rootfs.sh.
ARG BASE=debian:trixie-slim
FROM ${BASE} AS debian
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ffmpeg && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
COPY rootfs.sh /
RUN sh /rootfs.sh /rootfs

# The NVIDIA container runtime reads the NVIDIA_ variables and adds the driver's
# libraries.
FROM scratch AS transcoder-gpu
ARG TARGETARCH
LABEL org.opencontainers.image.vendor="Tonearm" \
      org.opencontainers.image.title="Tonearm transcoder for NVIDIA GPUs" \
      org.opencontainers.image.description="Converts one file, and decodes its frames on a GPU" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later AND LGPL-2.1-or-later AND LGPL-2.0-or-later AND BSD-2-Clause AND Zlib"
COPY ${TARGETARCH}/root /
COPY --from=debian /rootfs /
COPY ${TARGETARCH}/transcoder /usr/bin/transcoder
ENV PATH=/usr/bin HOME=/tmp TONEARM_GPU_FFMPEG=/usr/bin/ffmpeg-gpu \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,video,utility
USER 65532:65532
ENTRYPOINT ["/usr/bin/transcoder"]
