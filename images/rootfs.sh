#!/bin/sh
# rootfs.sh DIR: puts into DIR, out of the Debian that it runs in, ffmpeg, the
# shell that limits it, what both load, certificates, and nothing else: no
# package manager, no other program. Scanners find the packages that the files
# are of, with their licences, where those of other such images are.
set -eu
root=$1

# What older ones leave open is in FFmpeg's list of vulnerabilities.
version=$(dpkg-query -f '${Version}' -W ffmpeg)
dpkg --compare-versions "$version" ge 7:7.1.5 || { echo "ffmpeg $version is older than 7.1.5" >&2; exit 1; }

mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin" "$root/etc/ssl/certs" "$root/var/lib/dpkg/status.d"
mkdir -m 1777 "$root/tmp"
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done

# put FILE: under the name it was asked by, in its folder's real place; then its
# package is noted. Library names are links, some by way of /etc/alternatives.
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

chroot "$root" /usr/bin/ffmpeg -v error -f lavfi -i sine=d=1 -f mp3 -y /tmp/try.mp3 # all is there
rm "$root/tmp/try.mp3"
