#!/usr/bin/env bash
# gcc 12.2 (Debian 12) counts the bits of a constant array wrongly where the processor may count in vectors.
#
# Expected: `__builtin_popcountll` over four words that the compiler knows is 47 whatever the processor: a mask of kept
# weights has as many ones on each. Seen (gcc 12.2.0-14+deb12u1, -O3 or -O2 -ftree-vectorize, -mavx512vl and
# -mavx512vpopcntdq, which -march=native means from Ice Lake and Zen 4 on): 1158217994424357188. The loop becomes a vector
# whose count is computed while compiling, and two of the four words are left as they are. It needs no such processor to
# see it, as the wrong number stands in the program. The -march of one of these processors tunes it away; a processor
# that is newer than the compiler gets the general tuning, and the wrong count. Fails if the two counts agree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
[ "$(id -u)" != 0 ] || apt-get update -qq
apt-get download -qq cpp-12=12.2.0-14+deb12u1 libisl23=0.25-1.1 libmpc3=1.3.1-1 libmpfr6=4.2.0-1 libgmp10=2:6.2.1+dfsg1-1.1
for package in *.deb; do dpkg -x "$package" root; done
compiler=$(find root -name cc1)
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu
cat > count.c <<'C'
int printf(const char *, ...);
static const unsigned char mask[32] = {
    16, 192, 16, 17, 17, 1, 17, 16, 17, 0, 16, 17, 16, 1, 1, 16, 31, 17, 17, 17, 17, 208, 17, 0, 16, 0, 16, 1, 1, 16, 17, 16,
};
int main(void)
{
    unsigned long long count = 0;
    for (int i = 0; i + 8 <= 32; i += 8) {
        unsigned long long word;
        __builtin_memcpy(&word, mask + i, 8);
        count += (unsigned)__builtin_popcountll(word);
    }
    printf("%llu\n", count);
    return 0;
}
C
counted() {
    "$compiler" -quiet -fPIE count.c "$@" -o count.s
    env -u LD_LIBRARY_PATH cc -pie count.s -o count
    ./count
}
plain=$(counted -O3 -mpopcnt)
vectors=$(counted -O3 -mpopcnt -mavx512vl -mavx512vpopcntdq)
tuned=$(counted -O3 -march=icelake-server)
printf '%s\n' "one word after the other: $plain" "with counts in vectors: $vectors" "tuned for Ice Lake: $tuned"
[ "$plain" = 47 ] && [ "$tuned" = 47 ] && [ "$vectors" != 47 ]
