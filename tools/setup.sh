# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Shared by ./run and ./test: which Debian packages errand needs, how the missing ones are installed,
# and how a step is shown. Sourced by bash, from the top of the source tree.

packages_build=(g++ cmake ninja-build make libcli11-dev libfmt-dev liburing-dev libcereal-dev)
packages_test=(libgtest-dev python3 libfltk1.3-dev xvfb)
# Not needed by errand: the second compiler of ./test, and what the benchmarks compare errand with.
packages_clang=(clang-16)
packages_rivals=(libboost-dev libboost-context-dev libboost-fiber-dev libtbb-dev python3)
# For errand-microbench alone, so ./run alone asks for them: some 30 MB to fetch and 115 installed, with a Fortran compiler.
packages_openmpi=(libopenmpi-dev openmpi-bin)

log_dir=build/log
mkdir -p "$log_dir"

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# step TEXT LOG COMMAND...: one line on the terminal, the command's output in build/log/LOG.
# While it runs, a terminal sees the "[12/80]" of ninja or the "12/80" of ctest; when it fails,
# everybody sees the end of the log.
step() {
    local text=$1 log=$log_dir/$2 status=0 ticker='' start=$SECONDS
    shift 2
    : > "$log"
    if [[ -t 1 ]]; then
        printf '%s' "$text"
        show_progress "$text" "$log" & ticker=$!
    fi
    "$@" >> "$log" 2>&1 < /dev/null || status=$?
    if [[ $ticker ]]; then
        kill "$ticker" 2> /dev/null || true
        wait "$ticker" 2> /dev/null || true
        printf '\r\033[K'
    fi
    if ((status == 0)); then
        say "$text: $((SECONDS - start)) s"
    else
        say "$text: failed ($((SECONDS - start)) s); the end of $log:"
        tail -n 60 "$log" | sed 's/^/    /'
    fi
    return "$status"
}

show_progress() {
    local text=$1 log=$2 count
    while sleep 0.5; do
        count=$(tail -c 2000 "$log" | grep -aoE '^ *\[?[0-9]+/[0-9]+' | tail -n 1 | tr -d ' [') || true
        printf '\r\033[K%s%s' "$text" "${count:+  $count}"
    done
}

# missing PACKAGE...: those that are not installed. Milliseconds; no apt. Where there is no dpkg
# nothing is known to be missing, and the build says what it lacks.
missing() {
    local installed package
    command -v dpkg-query > /dev/null || return 0
    installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2> /dev/null || true)
    for package; do
        [[ $'\n'$installed$'\n' == *$'\n'"$package installed"$'\n'* ]] || printf '%s\n' "$package"
    done
}

# as_root COMMAND...: with sudo where we are not root. From a script nobody can type a password.
as_root() {
    local ask=(--non-interactive)
    [[ -t 0 ]] && ask=()
    if ((EUID == 0)); then "$@"; else sudo "${ask[@]}" "$@"; fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

refresh_package_lists() {
    [[ ${package_lists_fresh:-} ]] && return
    step "refreshing the package lists" apt-update.log as_root apt-get update || return
    package_lists_fresh=1
}

# Whether packages can be installed here at all; says why not. Asks for sudo's password, if need be.
can_install() {
    if ! command -v apt-get > /dev/null; then
        say "this machine has no apt-get"
    elif ((EUID == 0)); then
        return 0
    elif ! command -v sudo > /dev/null; then
        say "not root, and there is no sudo"
    elif [[ -t 0 ]] && sudo --validate || sudo --non-interactive true 2> /dev/null; then
        return 0
    else
        say "not root, and sudo refuses"
    fi
    return 1
}

# need PACKAGE...: installs what is missing, or ends here and says what to install.
need() {
    local absent
    mapfile -t absent < <(missing "$@")
    ((${#absent[@]})) || return 0
    if can_install && refresh_package_lists &&
        step "installing ${absent[*]}" apt-install.log apt_install "${absent[@]}"; then
        return 0
    fi
    die "errand needs these Debian packages; please install them, then call again: ${absent[*]}"
}

# want WHAT PACKAGE...: installs what is missing, as far as it can be had; goes on without the rest,
# and says so. Fails if any is missing.
want() {
    local what=$1 absent package
    mapfile -t absent < <(missing "${@:2}")
    ((${#absent[@]})) || return 0
    if can_install && refresh_package_lists; then
        step "installing ${absent[*]}" apt-install.log apt_install "${absent[@]}" && return
        for package in "${absent[@]}"; do
            step "installing $package alone" apt-install.log apt_install "$package" || true
        done
    fi
    say "going on without $what: not installed: $(missing "${@:2}" | paste -sd' ')"
    return 1
}

# build PRESET: configures when there is a reason: the first time, or newer presets or packages.
# ninja looks after everything else.
build() {
    local preset=$1 ninja=build/$1/build.ninja
    if [[ ! -e $ninja || CMakePresets.json -nt $ninja || $log_dir/apt-install.log -nt $ninja ]]; then
        step "$preset: configuring" "$preset-configure.log" cmake --preset "$preset" || return
    fi
    step "$preset: building" "$preset-build.log" cmake --build --preset "$preset"
}
