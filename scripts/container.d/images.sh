# The images that Dockerfile and compose.yaml build on: the real ones, or stand-ins made from Debian's packages.
# Sourced by scripts/container.
# shellcheck shell=bash disable=SC2034,SC2154 # variables go from one file to the other

# Stand-ins bear it, with what they were made from.
label=bellhop.stand-in

base_images_needed() {
  local service
  sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile
  for service in "${services[@]}"; do
    [[ -n $(from_compose services "$service" build) ]] || from_compose services "$service" image
  done
}

# Gets each, and says in $base_images which they are.
get_base_images() {
  local image real=() stand_ins=()
  for image in $(base_images_needed); do
    if get_real "$image"; then
      real+=("$image")
    else
      make_stand_in "$image"
      stand_ins+=("$image")
    fi
  done
  base_images="real base images: ${real[*]:-none}"
  ((${#stand_ins[@]} == 0)) ||
    base_images+="; STAND-INS from Debian's packages: ${stand_ins[*]}. This run proves the files of Bellhop, not those images"
  say "$base_images"
}

label_of() { podman image inspect --format "{{index .Labels \"$label\"}}" "$1" 2>/dev/null; }

# Pulled; or one that is here since the last time; or the machine's own.
get_real() {
  local of
  say "looks for $1"
  podman pull --quiet "$1" >"$work/pull" 2>&1 && return
  of=$(label_of "$1") && [[ -z $of ]] && return
  podman_of_the_machine image exists "$1" 2>/dev/null || return
  podman_of_the_machine save "$1" | podman load --quiet >/dev/null
}

make_stand_in() {
  local image=$1 name file made_from arguments=()
  name=${image%:*}
  name=${name##*/}
  file=$parts/$name.Containerfile
  [[ -f $file ]] || { cat "$work/pull" >&2; die "$image cannot be pulled, and there is no stand-in for it in scripts/container.d"; }
  ((EUID == 0)) || { cat "$work/pull" >&2; die "$image cannot be pulled; making a stand-in for it needs root"; }
  make_base
  if [[ $name == rust ]]; then
    arguments=(--build-arg "TOOLCHAIN=$(rustc --version)"
      --volume "$(rustc --print sysroot):/machine/toolchain:ro"
      --volume "/etc/ssl/certs/ca-certificates.crt:/machine/ca-certificates.crt:ro")
  fi
  made_from=$({ podman image inspect --format '{{.Id}}' localhost/bellhop-base; cat "$parts/$name"*; echo "${arguments[*]}"; } |
    sha256sum | cut -d ' ' -f 1)
  [[ $(label_of "$image") != "$made_from" ]] || return 0
  say "makes a stand-in for $image"
  quietly podman build --pull=never --network host --label "$label=$made_from" "${arguments[@]}" \
    --tag "$(full_name "$image")" --file "$file" "$parts"
}

# A name without a registry becomes one of this machine.
full_name() { if [[ ${1%%/*} == *.* ]]; then echo "$1"; else echo "localhost/$1"; fi; }

# The Debian that the images are made of, with nothing but apt.
make_base() {
  ! podman image exists localhost/bellhop-base || return 0
  say "makes a Debian to build stand-ins on"
  quietly debootstrap --variant=minbase bookworm "$work/debian"
  tar --directory="$work/debian" --create . | podman import --quiet - localhost/bellhop-base >/dev/null
  rm -rf --one-file-system "$work/debian"
}
