#!/bin/sh
# schemathesis.sh API_URL CA_FILE TOKEN_FILE: a running daemon answers as its contract says.
#   api/schemathesis.sh https://127.0.0.1:8443/api/v1 var/ca.pem var/token
# Needs schemathesis 4.32 (pip install schemathesis); SCHEMATHESIS names another program,
# EXAMPLES and SEED its number of examples and seed.
set -eu
api=$(cd "$(dirname "$0")" && pwd)
url=$1 ca=$2 token=$(cat "$3")
PYTHONPATH=$api exec "${SCHEMATHESIS:-schemathesis}" --config-file "$api/schemathesis.toml" \
    run "$url/openapi.json" --url "$url" --tls-verify "$ca" -H "Authorization: Bearer $token" \
    --max-examples "${EXAMPLES:-20}" --seed "${SEED:-1}" --continue-on-failure \
    --generation-database none --warnings off --no-color
