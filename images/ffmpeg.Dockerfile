# Images with Tonearm's own static ffmpeg: --target transcoder, or tonearm, which
# is everything in one process. There is no distribution below them: scripts/images
# puts all that they hold into the build context, by architecture.
FROM scratch AS ffmpeg
ARG TARGETARCH
LABEL org.opencontainers.image.vendor="Tonearm" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-2.1-or-later AND LGPL-2.0-or-later AND BSD-2-Clause AND Zlib"
COPY ${TARGETARCH}/root /
ENV PATH=/usr/bin HOME=/tmp
USER 65532:65532

FROM ffmpeg AS transcoder
ARG TARGETARCH
LABEL org.opencontainers.image.title="Tonearm transcoder" \
      org.opencontainers.image.description="Converts one file"
COPY ${TARGETARCH}/transcoder /usr/bin/transcoder
ENTRYPOINT ["/usr/bin/transcoder"]

FROM ffmpeg AS tonearm
ARG TARGETARCH
LABEL org.opencontainers.image.title="Tonearm" \
      org.opencontainers.image.description="Everything in one process: tonearm up, and the command-line client"
COPY ${TARGETARCH}/tonearm ${TARGETARCH}/transcoder /usr/bin/
ENTRYPOINT ["/usr/bin/tonearm"]
