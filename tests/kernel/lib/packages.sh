# shellcheck shell=bash
# The Debian packages that the build and the boot need.

packages=(
    # The kernel and the module; libc6-dev also holds the static C library.
    linux-source-6.12 gcc libc6-dev make flex bison bc libelf-dev libssl-dev
    kmod rsync xz-utils
    # The guest.
    busybox-static cpio pciutils
)
# The first QEMU with the network card igb. Debian 13 has it, Debian 12 in its
# backports.
qemu_package=qemu-system-x86 qemu_version=1:8.0

package_missing() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) != installed ]]
}

# Whether a version of the package's is new enough for the machines.
is_new_enough() {
    [[ -n $1 && $1 != '(none)' ]] && dpkg --compare-versions "$1" ge "$qemu_version"
}

install_packages() {
    local package missing=() as_root=()

    command -v dpkg-query >/dev/null ||
        die "this needs the packages of Debian 12 or 13 (${packages[*]} $qemu_package), and dpkg is not here"
    for package in "${packages[@]}"; do
        if package_missing "$package"; then
            missing+=("$package")
        fi
    done
    if package_missing "$qemu_package" ||
        ! is_new_enough "$(dpkg-query -W -f '${Version}' "$qemu_package")"; then
        missing+=("$qemu_package")
    fi
    ((${#missing[@]})) || return 0

    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "packages are missing or old, and only root can install them: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    note "installing ${missing[*]}"
    apt_get -qq update || die "apt-get update failed"
    if [[ ${missing[-1]} == "$qemu_package" ]] &&
        ! is_new_enough "$(apt-cache policy "$qemu_package" | sed -n 's/^ *Candidate: //p')"; then
        unset 'missing[-1]'
        install_from_backports "$qemu_package"
    fi
    ((${#missing[@]})) || return 0
    apt_get -qq -y --no-install-recommends install "${missing[@]}" >&2 ||
        die "apt-get could not install ${missing[*]}; linux-source-6.12 is in Debian 12 (security) and 13"
}

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"
}

# From where the machine has its other packages, without a lasting change to its
# sources.
install_from_backports() {
    local release mirror sources options
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        sed -n "s/^$release main //p" | head -n 1)
    [[ -n $mirror ]] ||
        die "there is no $1 of version $qemu_version or newer here, and no source of $release to find its backports by"
    sources=$(mktemp -d)
    # Apt fetches as a user of its own.
    chmod 755 "$sources"
    mkdir -p "$sources/lists/partial" "$sources/parts"
    cp -- /etc/apt/sources.list.d/*.{list,sources} "$sources/parts/" 2>/dev/null || true
    [[ ! -e /etc/apt/sources.list ]] || cp /etc/apt/sources.list "$sources/parts/machine.list"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release-backports main" \
        >"$sources/parts/backports.list"
    options=(-qq -o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$sources/parts"
        -o "Dir::State::Lists=$sources/lists")
    # shellcheck disable=SC2015
    apt_get "${options[@]}" update &&
        apt_get "${options[@]}" -y --no-install-recommends -t "$release-backports" install "$1" >&2 ||
        die "apt-get could not install $1 from $release-backports; version $qemu_version or newer is needed"
    "${as_root[@]}" rm -rf -- "$sources"
}
