#!/bin/sh
# What the servers that the tests talk to are made of: `sh scripts/ci-servers.sh`, before the tests.
#
# rsyslog, Prometheus, Chromium, Java, Maven and docker-compose (which reads a file without an engine)
# come from Debian, where this runs as root and they are not there; the jars of Apache Kafka and
# OpenSearch (120 MB, half a minute) from Maven's repository, into the folder where Maven keeps them
# anyway.  Nothing is started.  Every wait has an end; fails if something is missing.
set -u
cd "$(dirname "$0")/.."

say() { echo "servers: $*"; }

# bounded SECONDS COMMAND...
bounded() {
    if command -v timeout >/dev/null 2>&1; then timeout -k 10 "$@"; else shift && "$@"; fi
}

# -- from Debian ----------------------------------------------------------------------------------

rsyslogd() { [ -x /usr/sbin/rsyslogd ] || command -v rsyslogd >/dev/null 2>&1; }

rsyslog_module() {
    for file in /usr/lib/*/rsyslog/"$1.so" /usr/lib/rsyslog/"$1.so" /usr/lib64/rsyslog/"$1.so"; do
        [ ! -e "$file" ] || return 0
    done
    return 1
}

# Either form will do; Docker's own plug-in is not in Debian.
compose() { docker compose version || docker-compose version; }

# absent: the Debian packages of what is not here.
absent() {
    rsyslogd || echo rsyslog
    rsyslog_module lmnsd_gtls || echo rsyslog-gnutls
    rsyslog_module omelasticsearch || echo rsyslog-elasticsearch
    command -v java >/dev/null 2>&1 || echo default-jre-headless
    command -v mvn >/dev/null 2>&1 || echo maven
    { command -v prometheus && command -v promtool; } >/dev/null 2>&1 || echo prometheus
    command -v chromium >/dev/null 2>&1 || echo chromium
    compose >/dev/null 2>&1 || echo docker-compose
}

packages=$(absent | tr '\n' ' ')
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    options="-qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 -o Acquire::http::Timeout=30"
    # shellcheck disable=SC2086 # lists of words
    {
        bounded 120 apt-get $options update || true # what is in the lists may do
        bounded 300 apt-get $options install -y --no-install-recommends $packages ||
            say "apt-get could not install $packages"
    }
    # The tests start their own, with their own files; the system's service is not wanted.
    if command -v systemctl >/dev/null 2>&1; then
        systemctl disable --now rsyslog syslog.socket prometheus >/dev/null 2>&1 || true
    fi
fi
missing=$(absent | tr '\n' ' ')

# -- from Maven -----------------------------------------------------------------------------------

# jars NAME: the same request as in tests/support/servers.py, which finds everything there then.
jars() {
    list=$(mktemp)
    for try in 1 2; do
        bounded 150 mvn --batch-mode --quiet --file "tests/servers/$1/pom.xml" \
            dependency:build-classpath "-Dmdep.outputFile=$list" </dev/null >"$list.said" 2>&1
        status=$?
        if [ "$status" = 0 ] && [ -s "$list" ]; then
            rm -f "$list" "$list.said"
            return 0
        fi
        head -n 3 "$list.said"
        case $status in
            124 | 137) why="it took longer than 150 s" ;;
            *) why="Maven ended with $status" ;;
        esac
        say "no jars for $1 at attempt $try: $why"
    done
    rm -f "$list" "$list.said"
    return 1
}

if command -v mvn >/dev/null 2>&1; then
    for name in kafka opensearch; do
        jars "$name" || missing="${missing}jars-of-$name "
    done
fi

if [ -n "$missing" ]; then
    say "missing: $missing"
    exit 1
fi
say "all there"
