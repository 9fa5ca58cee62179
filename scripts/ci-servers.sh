#!/bin/sh
# The servers that the tests talk to and that Debian has: `sh scripts/ci-servers.sh`, as root.
# Elsewhere it does nothing; the tests say which servers were missing then.
set -eu

missing=""
[ -x /usr/sbin/rsyslogd ] || missing="$missing rsyslog"
for pair in lmnsd_gtls:rsyslog-gnutls omelasticsearch:rsyslog-elasticsearch; do
    found=""
    for module in /usr/lib/*/rsyslog/"${pair%%:*}.so" /usr/lib/rsyslog/"${pair%%:*}.so"; do
        [ ! -e "$module" ] || found=yes
    done
    [ -n "$found" ] || missing="$missing ${pair#*:}"
done

if [ -z "$missing" ]; then
    echo "servers: all there"
elif [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "servers: missing$missing (not root on Debian: not installed)"
else
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true # what is in the lists may do
    # shellcheck disable=SC2086 # a list of words
    apt-get install -y -qq --no-install-recommends $missing
    # The tests start their own, with their own files; the system's service is not wanted.
    if command -v systemctl >/dev/null 2>&1; then
        systemctl disable --now rsyslog syslog.socket >/dev/null 2>&1 || true
    fi
fi
