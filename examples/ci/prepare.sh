#!/usr/bin/env bash
# Before mcutrain runs in CI: keep what $MCUTRAIN_BUILD has from the cache if it was built of these sources by these tools, else remove it.
#
# Ninja goes by the times of files, and a fresh checkout has made all of them just now. As the sources are those that were built, they
# may be called old; without that, the cache would be of no use.
set -euo pipefail

mcutrain=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../..
build=$(realpath -m -- "${MCUTRAIN_BUILD:?say where builds go}")
cd -- "$mcutrain"

sources() { find CMakeLists.txt cmake src emulation/boards emulation/qemu -type f -print0 | LC_ALL=C sort -z; }

state=$(
    sources | xargs -0 sha256sum | sha256sum
    for tool in cc arm-none-eabi-gcc cmake ninja qemu-system-arm; do "$tool" --version | sed -n 1p; done
)
if [[ $(cat -- "$build/built-of" 2>/dev/null) != "$state" ]]; then
    rm -rf -- "$build"
    mkdir -p -- "$build"
    printf '%s\n' "$state" >"$build/built-of"
fi
sources | xargs -0 touch -d 2000-01-01
