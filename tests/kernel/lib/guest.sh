# shellcheck shell=bash
# What goes into the guest: modules, executables, and the initramfs of both.

build_module() {
    local dir=$work/module
    mkdir "$dir"
    # A copy, so that no build product ends up beside the sources.
    cp -- "$here"/module/{Kbuild,*.c,*.h} "$dir/"
    quietly "$work/module.log" make -C "$kernel_dir/tree" M="$dir" modules
    # Modpost's warnings do not stop a build by themselves.
    if grep -q WARNING "$work/module.log"; then
        cat "$work/module.log" >&2
        die "the test module builds with warnings"
    fi
}

# Static executables, because the guest has no shared libraries.
build_executables() {
    local name path target=x86_64-unknown-linux-gnu
    local artifacts=$work/artifacts.json tests=()
    local options=(--release --locked --target "$target"
        --target-dir "$repo/target/kernel" --manifest-path "$repo/Cargo.toml")

    command -v cargo >/dev/null || die "cargo is not here; install Rust from https://rustup.rs"
    mkdir -p "$work/root/bin" "$work/root/tests"

    note "building the test executables"
    static_cargo build "${options[@]}" --bin mdevbus || die "cargo build failed"
    install_stripped "$repo/target/kernel/$target/release/mdevbus" "$work/root/bin/mdevbus"

    for name in "${test_names[@]}"; do
        tests+=(--test "$name")
    done
    static_cargo test --no-run "${options[@]}" --features kernel-guest "${tests[@]}" \
        --message-format=json-render-diagnostics >"$artifacts" || die "cargo test --no-run failed"
    for name in "${test_names[@]}"; do
        path=$(test_executable "$name" "$artifacts") || true
        [[ -x $path ]] || die "cargo named no executable for the test $name"
        install_stripped "$path" "$work/root/tests/$name"
    done
}

static_cargo() {
    RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" cargo "$@"
}

# Cargo prints one JSON object a line.
test_executable() {
    grep -F '"reason":"compiler-artifact"' "$2" |
        grep -F "\"kind\":[\"test\"]" |
        grep -F "\"name\":\"$1\"" |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' |
        tail -n 1
}

# Debug information is most of the size and is not read in the guest.
install_stripped() {
    strip --strip-debug -o "$2" -- "$1"
    chmod 755 "$2"
}

# A program of the host, with the shared libraries that it wants, each at its place.
install_with_libraries() {
    local file
    for file in $(command -v "$1") $(ldd "$(command -v "$1")" | grep -o '/[^ ]*'); do
        install -D -m 755 "$file" "$work/root$file"
    done
}

build_initramfs() {
    local root=$work/root
    mkdir -p "$root"/{bin,dev,etc,modules,proc,root,sys,tmp}
    cp /bin/busybox "$root/bin/"
    install_with_libraries lspci
    cp "$kernel_dir"/modules/*.ko "$work/module/mdevtest.ko" "$root/modules/"
    cp "$here/init" "$root/init"
    chmod 755 "$root/init"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    (cd "$root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/initramfs.gz"
}
