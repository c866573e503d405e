# syntax=docker/dockerfile:1
# The builder runs on the host's architecture and cross-compiles, so it needs no
# emulation.
ARG GO_IMAGE=docker.io/library/golang:1.26.8@sha256:3c3e25a4da13fd0478eed2df1eb35a0e667094a7124d3993a6a1d30f71c17e79
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY internal internal
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/ ./cmd/...

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="capvet" \
      org.opencontainers.image.description="Admission webhook that finds legacy 32-bit capability calls in images" \
      org.opencontainers.image.source="https://github.com/capvet/capvet" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/webhook /out/capvet /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/webhook"]
