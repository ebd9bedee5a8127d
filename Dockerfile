# Trunkline in a container: host networking is meant (docker-compose.yml), since RTP uses a range of UDP ports.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY sip sip
COPY rtp rtp
COPY gateway gateway
# pocketsphinx has no wheel for every architecture; the compiler stays behind in this stage.
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends gcc g++ \
 && python -m venv /opt/trunkline \
 && /opt/trunkline/bin/pip install --no-cache-dir '.[embedded,mcp]'

FROM python:3.13-slim
RUN useradd --system --create-home --uid 10001 trunkline \
 && install -d -o trunkline -g trunkline /etc/trunkline /var/lib/trunkline
COPY --from=build /opt/trunkline /opt/trunkline
COPY --chown=trunkline:trunkline config /etc/trunkline
ENV PATH=/opt/trunkline/bin:$PATH PYTHONUNBUFFERED=1
USER trunkline
WORKDIR /var/lib/trunkline
EXPOSE 5060/udp
ENTRYPOINT ["trunkline"]
CMD ["serve", "-c", "/etc/trunkline/gateway.yaml"]
