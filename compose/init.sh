#!/bin/sh
# Makes what docker-compose.yml must not bring along: passwords, tokens, the root of all keys. Once, before the first
# `docker compose up`. Tokens stand in .env, because Dapr reads them from its environment alone; all else in files.
# Nothing is overwritten: with other passwords the volumes could not be opened, with another secret nothing in them.
set -eu
cd "$(dirname "$0")/.."
for made in .env compose/secrets; do
  if [ -e "$made" ]; then
    echo "$made is there already. To begin anew, with nothing kept: docker compose down --volumes, then delete it." >&2
    exit 1
  fi
done

random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

postgres=$(random) mongo=$(random) redis=$(random)
# Containers read the files as users of their own: so the files are open, and the folder is closed to all but you.
umask 077
mkdir compose/secrets
(
  umask 022
  cd compose/secrets
  random > secret
  printf %s "$postgres" > postgres-password
  printf %s "$mongo" > mongo-password
  printf 'requirepass %s\nappendonly yes\nmaxmemory-policy noeviction\n' "$redis" > redis.conf
  cat > depesche.toml << EOF
dsn = "postgresql://depesche:$postgres@postgres:5432/depesche"

[history]
mongo_url = "mongodb://depesche:$mongo@mongo:27017/depesche_history?authSource=admin"
opensearch_url = "http://opensearch:9200"
EOF
)
cat > .env << EOF
DAPR_API_TOKEN=$(random)
APP_API_TOKEN=$(random)
DEPESCHE_REDIS_PASSWORD=$redis
EOF
echo "Made .env and compose/secrets. Next: docker compose up"
