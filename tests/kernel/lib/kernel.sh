# shellcheck shell=bash
# The kernel: built once for each source package and configuration.

# Raise it when this file changes what a build holds.
kernel_recipe=1

# Sets kernel_dir, a folder with bzImage, modules/ and tree/ (what is left of
# the source tree, enough to build modules against).
prepare_kernel() {
    local version key lock

    version=$(dpkg-query -W -f '${Version}' linux-source-6.12)
    key=$({ echo "$kernel_recipe"; cat "$here/kernel.config"; } | sha256sum | cut -c 1-12)
    kernel_dir=$cache/linux-${version//[!A-Za-z0-9.+~-]/_}-$key

    exec {lock}>"$cache/lock"
    if ! flock -n "$lock"; then
        note "waiting for another run that builds a kernel"
        flock "$lock"
    fi
    # The name exists only once the build is whole: see the last step.
    if [[ ! -d $kernel_dir ]]; then
        # Left behind by builds that were interrupted.
        rm -rf -- "$cache"/linux-*.partial
        build_kernel "$kernel_dir.partial"
        mv -- "$kernel_dir.partial" "$kernel_dir"
    fi
    exec {lock}>&-
}

build_kernel() {
    local dir=$1 tree=$1/tree log=$1/build.log started=$SECONDS
    local make=(make -C "$tree" -j "$(nproc)"
        KBUILD_BUILD_USER=mdevbus KBUILD_BUILD_HOST=mdevbus)

    note "building Linux (about 5 minutes on 2 processors); log: $log"
    mkdir -p "$tree" "$dir/modules"
    quietly "$log" tar -xf /usr/src/linux-source-6.12.tar.xz -C "$tree" --strip-components=1
    quietly "$log" "${make[@]}" tinyconfig
    cat "$here/kernel.config" >>"$tree/.config"
    quietly "$log" "${make[@]}" olddefconfig
    check_config "$tree/.config"
    quietly "$log" "${make[@]}" bzImage modules

    cp "$tree/arch/x86/boot/bzImage" "$dir/"
    cp "$tree/drivers/vfio/mdev/mdev.ko" "$tree"/samples/vfio-mdev/*.ko "$dir/modules/"
    prune_tree "$tree"
    note "built Linux in $((SECONDS - started)) s"
}

# olddefconfig drops an option silently if something it depends on is missing.
check_config() {
    local line
    while read -r line; do
        grep -qxF -- "$line" "$1" || die "kernel.config: '$line' did not survive olddefconfig"
    done < <(grep -E '^(CONFIG_|# CONFIG_.* is not set)' "$here/kernel.config")
}

# 2 GB become about 110 MB: a module build needs headers, the build system,
# the host programs already built, and Module.symvers.
prune_tree() {
    local tree=$1
    find "$tree" -mindepth 1 -maxdepth 1 \
        ! -name .config ! -name Makefile ! -name Kbuild ! -name Module.symvers \
        ! -name arch ! -name include ! -name scripts ! -name tools \
        -exec rm -rf {} +
    find "$tree/arch" -mindepth 1 -maxdepth 1 ! -name x86 -exec rm -rf {} +
    find "$tree/tools" -mindepth 1 -maxdepth 1 ! -name objtool -exec rm -rf {} +
    find "$tree/arch/x86" -type f \
        \( -name '*.[acdoS]' -o -name '*.cmd' -o -name 'vmlinux*' -o -name bzImage \) -delete
}
