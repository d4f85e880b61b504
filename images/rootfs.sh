#!/bin/sh
# rootfs.sh DIR: copies Debian's ffmpeg as usr/bin/ffmpeg-gpu, and everything that
# it loads, into DIR, from the Debian that it runs in. There is no package
# manager, no shell and no other program. The list of the files' packages and
# their licences is where scanners look for it.
set -eu
root=$1

# FFmpeg's list of vulnerabilities says what is wrong with older versions.
version=$(dpkg-query -f '${Version}' -W ffmpeg)
dpkg --compare-versions "$version" ge 7:7.1.5 || { echo "ffmpeg $version is older than 7.1.5" >&2; exit 1; }

mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin" "$root/etc" "$root/var/lib/dpkg/status.d"
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
  for file in /usr/bin/ffmpeg /sbin/ldconfig; do put "$file"; done # the NVIDIA runtime may want ldconfig
  for file in $(loaded /usr/bin/ffmpeg); do put "$file"; done
} >/packages
mv "$root/usr/bin/ffmpeg" "$root/usr/bin/ffmpeg-gpu"
for package in $(cut -d: -f1 /packages | sort -u) base-files; do
  dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
  mkdir -p "$root/usr/share/doc/$package"
  cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done
cp -L /etc/os-release /etc/debian_version "$root/etc/"
cp -r /etc/ld.so.conf /etc/ld.so.conf.d "$root/etc/"

chroot "$root" /usr/bin/ffmpeg-gpu -v error -f lavfi -i testsrc2=d=1 -f null - # check that nothing is missing
