# The services that need no other program: --target gateway, dispatcher or
# notifier. scripts/images compiles them for each architecture into the build
# context, so no image with a compiler is needed.
FROM scratch AS service
LABEL org.opencontainers.image.vendor="Tonearm" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532

FROM service AS gateway
ARG TARGETARCH
LABEL org.opencontainers.image.title="Tonearm gateway" \
      org.opencontainers.image.description="HTTP API: accounts, presigned uploads and downloads"
COPY ${TARGETARCH}/gateway /gateway
ENTRYPOINT ["/gateway"]

# makesecrets is what a Job of kustomize/components/made-secrets runs.
FROM service AS dispatcher
ARG TARGETARCH
LABEL org.opencontainers.image.title="Tonearm dispatcher" \
      org.opencontainers.image.description="Takes uploads' notifications and launches one Job per file"
COPY ${TARGETARCH}/dispatcher ${TARGETARCH}/makesecrets /
ENTRYPOINT ["/dispatcher"]

FROM service AS notifier
ARG TARGETARCH
LABEL org.opencontainers.image.title="Tonearm notifier" \
      org.opencontainers.image.description="Mails owners when their MP3 is ready or their video failed"
COPY ${TARGETARCH}/notifier /notifier
ENTRYPOINT ["/notifier"]
