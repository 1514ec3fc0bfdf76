#!/bin/sh
# Makes the credentials that docker-compose.yml mounts, and .env with the ids of the user who may read them.
# Never replaces anything and prints no credential. Usage: deploy/compose/make-secrets.sh
set -eu
umask 077

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
secrets=${COLONY_SECRETS:-$here/secrets}
environment=${COLONY_ENV_FILE:-$root/.env}

# random_text FORMAT BYTES: random bytes as hex or base64, on one line.
random_text() {
    case $1 in
        hex) od -An -v -tx1 -N "$2" /dev/urandom | tr -d ' \n' ;;
        base64) head -c "$2" /dev/urandom | base64 | tr -d '\n' ;;
    esac
}

random_uuid() {
    digits=$(random_text hex 16)
    first=$(printf %.8s "$digits")
    rest=${digits#????????}
    printf '%s-%.4s-4%.3s-a%.3s-%.12s' \
        "$first" "$rest" "${rest#????}" "${rest#???????}" "${rest#??????????}"
}

# keep NAME COMMAND...: write what the command prints, unless the credential is there.
keep() {
    name=$1
    shift
    if [ -s "$secrets/$name" ]; then
        return
    fi
    "$@" > "$secrets/.$name"
    mv "$secrets/.$name" "$secrets/$name"
    made=$((made + 1))
}

# Postgres does not run as root: what root makes belongs to an ordinary user.
user=$(id -u)
group=$(id -g)
if [ "$user" -eq 0 ]; then
    user=1000
    group=1000
fi

made=0
mkdir -p "$secrets"
for name in postgres-admin postgres-colony postgres-temporal ray-token api-key model-key gateway-key \
    nats-host nats-dispatcher nats-worker nats-client nats-supervisor; do
    keep "$name" random_text hex 32
done
for name in consul-management consul-host consul-dispatcher consul-client; do
    keep "$name" random_uuid
done
keep consul-gossip random_text base64 32
if [ "$(id -u)" -eq 0 ]; then
    chown -R "$user:$group" "$secrets"
fi

if [ ! -e "$environment" ]; then
    sed -e "s/^COLONY_UID=.*/COLONY_UID=$user/" -e "s/^COLONY_GID=.*/COLONY_GID=$group/" \
        "$here/.env.example" > "$environment"
    echo "Wrote $environment."
fi
echo "$made credentials made in $secrets."
