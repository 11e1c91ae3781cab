# syntax=docker/dockerfile:1
#
# The image holds one static binary and the roots of trust for TLS; no shell, no
# package manager, no simulator. It runs as an ordinary user.
#
# Pin the builder by digest where you build for real, so that the same commit
# always gives the same image:
#
#   docker buildx imagetools inspect golang:1.26-bookworm --format '{{.Manifest.Digest}}'
#   docker build --build-arg GO_IMAGE=golang:1.26-bookworm@sha256:<that digest> -t breakglass .
#
# Any image with Go 1.26 and /etc/ssl/certs/ca-certificates.crt will do as GO_IMAGE.
ARG GO_IMAGE=golang:1.26-bookworm

FROM ${GO_IMAGE} AS build
WORKDIR /src
# The modules first: they change seldom, and then this layer is reused.
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY . .
# The context has .git, so `breakglass version` names the tag and the commit.
RUN CGO_ENABLED=0 GOTOOLCHAIN=local \
    go build -trimpath -ldflags "-s -w" -o /out/breakglass ./cmd/breakglass
# The directory exists in the image so that a new volume over it belongs to the user.
RUN install -d -m 0700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/breakglass /breakglass
COPY --from=build --chown=65532:65532 /out/data /var/lib/breakglass
USER 65532:65532
# store.path in the configuration is relative to this directory.
WORKDIR /var/lib/breakglass
VOLUME /var/lib/breakglass
# For /healthz, /readyz and /metrics from outside the container, set listen: 0.0.0.0:9464.
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/breakglass"]
CMD ["run", "-c", "/etc/breakglass/breakglass.yaml"]
