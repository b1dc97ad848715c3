# shellcheck shell=bash
# The Debian packages that the build and the boot need.

packages=(
    # The kernel and the module; libc6-dev also holds the static C library.
    linux-source-6.12 gcc libc6-dev make flex bison bc libelf-dev libssl-dev
    kmod rsync xz-utils
    # The guest.
    busybox-static cpio qemu-system-x86
)

package_missing() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) != installed ]]
}

install_packages() {
    local package missing=() as_root=()

    command -v dpkg-query >/dev/null ||
        die "this needs the packages of Debian 12 or 13 (${packages[*]}), and dpkg is not here"
    for package in "${packages[@]}"; do
        if package_missing "$package"; then
            missing+=("$package")
        fi
    done
    ((${#missing[@]})) || return 0

    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "packages are missing and only root can install them: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    note "installing ${missing[*]}"
    "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 -qq update ||
        die "apt-get update failed"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends \
        install "${missing[@]}" >&2 ||
        die "apt-get could not install ${missing[*]}; linux-source-6.12 is in Debian 12 (security) and 13"
}
