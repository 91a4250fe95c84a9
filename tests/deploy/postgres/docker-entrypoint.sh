#!/bin/sh
# Makes the database in an empty PGDATA, then runs the command. POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD_FILE as in the official image.
set -eu
if [ ! -s "${PGDATA}/PG_VERSION" ]; then
    initdb --pgdata="${PGDATA}" --username="${POSTGRES_USER}" --pwfile="${POSTGRES_PASSWORD_FILE}" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8
    echo "listen_addresses = '*'" >>"${PGDATA}/postgresql.conf"
    echo "host all all all scram-sha-256" >>"${PGDATA}/pg_hba.conf"
    pg_ctl --wait --options="-c listen_addresses=''" start
    if [ "${POSTGRES_DB}" != postgres ]; then createdb --username="${POSTGRES_USER}" "${POSTGRES_DB}"; fi
    pg_ctl --wait --mode=fast stop
fi
exec "$@"
