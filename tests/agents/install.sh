#!/bin/sh
# Installs the agents that the end-to-end tests run, at the exact versions of package-lock.json,
# into target/agents. No script of any package runs, and nothing is fetched beyond the packages.
#
# Exit 0: installed, or impossible here. The second leaves target/agents/LEFT_OUT with the reason,
# which is the only thing that lets those tests pass without their agent.
# Exit 1: the pins are broken (a hash differs, lock and package.json disagree). That is never "left out".
set -eu

pins=$(cd "$(dirname "$0")" && pwd)
into="$(cd "$pins/../.." && pwd)/target/agents"
stamp="$into/installed-package-lock.json"
log="$into/install.log"

left_out() {
    printf '%s\n' "$1" >"$into/LEFT_OUT"
    echo "LEFT OUT: the tests that run the real Claude Code: $1"
    exit 0
}

native_binary() {
    find "$into/node_modules/@anthropic-ai" -mindepth 2 -maxdepth 2 -path '*/claude-code-*/claude' \
        -type f -perm -u+x 2>/dev/null | head -n 1
}

mkdir -p "$into"
if cmp -s "$pins/package-lock.json" "$stamp" && [ -n "$(native_binary)" ]; then
    rm -f "$into/LEFT_OUT"
    echo "agents: up to date in $into"
    exit 0
fi

# The stamp goes first and returns last: an interrupted installation is never taken for a whole one.
rm -f "$stamp" "$into/LEFT_OUT"
cp "$pins/package.json" "$pins/package-lock.json" "$pins/.npmrc" "$into/"
command -v npm >/dev/null 2>&1 || left_out "npm is not on PATH"

echo "agents: npm ci in $into"
if ! (cd "$into" && npm ci --ignore-scripts --no-audit --no-fund >"$log" 2>&1); then
    if grep -Eq 'code (EINTEGRITY|EUSAGE)' "$log"; then
        cat "$log" >&2
        echo "agents: the pinned packages are not what the lock file says" >&2
        exit 1
    fi
    left_out "npm ci failed: $(grep -m 1 -E 'npm (error|ERR!)' "$log" || echo "see $log")"
fi

binary=$(native_binary)
if [ -z "$binary" ]; then
    echo "agents: npm ci succeeded and brought no native program" >&2
    exit 1
fi
cp "$pins/package-lock.json" "$stamp"
echo "agents: installed $binary"
