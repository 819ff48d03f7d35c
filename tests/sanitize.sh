#!/usr/bin/env bash
# Runs tests of the core and the storage against a core built with a sanitizer, beside the ordinary build.
#
#   tests/sanitize.sh asan [tests...]     addresses and undefined behaviour
#   tests/sanitize.sh tsan [tests...]     data races
#
# Python itself is not instrumented: the sanitizer's runtime is preloaded, leaks at exit are CPython's own, and
# PYTHONMALLOC=malloc lets ASan see every block. TSan needs the address space not randomised (setarch -R).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
mode=${1:?asan or tsan}
shift
if (($#)); then tests=("$@"); else tests=(tests/core tests/storage); fi
python=${PYTHON:-$root/.venv/bin/python}
case $python in /*) ;; *) python=$(command -v "$python") ;; esac
library=$root/build/$mode/lib

KITHARA_BUILD=$mode "$python" setup.py -q build --build-base "build/$mode" --build-lib "$library"

runtime() { gcc -print-file-name="lib$1.so"; }
case $mode in
asan)
    preload="$(runtime asan) $(runtime ubsan)"
    # The core's own SIGBUS guard is part of what is tested.
    export ASAN_OPTIONS=detect_leaks=0:handle_sigbus=0:allow_user_segv_handler=1
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export PYTHONMALLOC=malloc
    ;;
tsan)
    preload=$(runtime tsan)
    export TSAN_OPTIONS=halt_on_error=0:exitcode=66:handle_sigbus=0:suppressions=$root/tests/tsan.supp
    ;;
*)
    echo "asan or tsan, not $mode" >&2
    exit 2
    ;;
esac

# From another directory, so that the checkout does not shadow the instrumented build.
cd "build/$mode"
# Reports go to file descriptor 2, which pytest would swallow if it captured more than Python's own output.
arguments=(-c "$root/pyproject.toml" --rootdir "$root" -p no:cacheprovider -m "not slow" --capture=sys --timeout 300)
for test in "${tests[@]}"; do
    arguments+=("$root/$test")
done
export PYTHONPATH=$library
found=$("$python" -c 'import importlib.util; print(importlib.util.find_spec("kithara").origin)')
if [[ $found != "$library"/* ]]; then
    echo "the instrumented build is shadowed by $found" >&2
    exit 1
fi
# Three times the time: instrumented code is slow, and the bounds are about liveness.
KITHARA_SLOWER=3 LD_PRELOAD=$preload setarch -R "$python" -m pytest "${arguments[@]}"
