# The two commands of the README: tested when it is built, the demo when it runs.
FROM python:3.11-bookworm
WORKDIR /ifrvis
COPY . .
RUN make test
CMD ["make", "demo"]
