#!/bin/sh
# Secrets of a development cluster, new ones at each call: sh k8s/overlays/dev/secrets.sh | kubectl apply -f -
# Run it once: Postgres retains its first password, and only the first `secret` opens what it sealed.
set -eu
random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }
postgres=$(random)

secret() { # NAME, then the lines of stringData
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: depesche\nstringData:\n' "$1"
  shift
  printf '  %s\n' "$@"
}
printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: depesche\n'
secret depesche "secret: \"$(random)\"" "depesche.toml: 'dsn = \"postgresql://depesche:$postgres@postgres:5432/depesche\"'"
secret depesche-postgres "password: \"$postgres\""
secret depesche-api-token "token: \"$(random)\""
secret depesche-app-token "token: \"$(random)\""
secret depesche-bus 'DEPESCHE_REDIS_HOST: redis:6379' 'DEPESCHE_REDIS_TLS: "false"' 'DEPESCHE_REDIS_USERNAME: ""' \
  "DEPESCHE_REDIS_PASSWORD: \"$(random)\""
