#!/bin/sh
# Makes what docker-compose.yml must not contain: passwords, tokens, the root of all keys. Run it once, before the first
# `docker compose up`. Tokens are in .env, because Dapr reads them only from its environment; the rest in files.
# Nothing is overwritten: new passwords would not open the volumes, and a new secret would not open their contents.
set -eu
cd "$(dirname "$0")/.."
for made in .env compose/secrets; do
  if [ -e "$made" ]; then
    echo "$made is there already. To start over and lose all data: docker compose down --volumes, then delete it." >&2
    exit 1
  fi
done

random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

postgres=$(random) mongo=$(random) redis=$(random)
# Containers read the files under their own users, so the files are readable and only the folder is private.
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
