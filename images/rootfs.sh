#!/bin/sh
# rootfs.sh DIR: copies ffmpeg, the shell that limits it, everything that both
# load, and certificates into DIR, from the Debian that it runs in. There is no
# package manager and no other program. The list of the files' packages and
# their licences is where scanners look for it.
set -eu
root=$1

# FFmpeg's list of vulnerabilities says what is wrong with older versions.
version=$(dpkg-query -f '${Version}' -W ffmpeg)
dpkg --compare-versions "$version" ge 7:7.1.5 || { echo "ffmpeg $version is older than 7.1.5" >&2; exit 1; }

mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin" "$root/etc/ssl/certs" "$root/var/lib/dpkg/status.d"
mkdir -m 1777 "$root/tmp"
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done

# put FILE: copies it under the requested name, into the real place of its
# folder, and notes its package. Library names are links, some of them through
# /etc/alternatives.
put() {
  dir=$(realpath "$(dirname "$1")")
  mkdir -p "$root$dir"
  cp -L --preserve=mode,timestamps "$1" "$root$dir/"
  file=$(realpath "$1")
  dpkg -S "$file" 2>/dev/null || dpkg -S "${file#/usr}" 2>/dev/null || { echo "no package has $file" >&2; exit 1; }
}
loaded() { ldd "$@" | grep -oE '/[^ :]+\.so[^ :]*' | sort -u; }
{
  for file in /usr/bin/ffmpeg /bin/sh /sbin/ldconfig; do put "$file"; done # the NVIDIA runtime may want ldconfig
  for file in $(loaded /usr/bin/ffmpeg /bin/sh); do put "$file"; done
} >/packages
for package in $(cut -d: -f1 /packages | sort -u) ca-certificates base-files; do
  dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
  mkdir -p "$root/usr/share/doc/$package"
  cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done

cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp -L /etc/os-release /etc/debian_version "$root/etc/"
cp -r /etc/ld.so.conf /etc/ld.so.conf.d "$root/etc/"
echo 'tonearm:x:65532:65532:Tonearm:/tmp:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'tonearm:x:65532:' >"$root/etc/group"

chroot "$root" /usr/bin/ffmpeg -v error -f lavfi -i sine=d=1 -f mp3 -y /tmp/try.mp3 # check that nothing is missing
rm "$root/tmp/try.mp3"
